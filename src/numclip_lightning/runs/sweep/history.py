"""What a sweep leaves in its folder for others: the facts of all trials, and the best configuration."""

import json
import math
import shlex
from collections.abc import Sequence
from typing import Any

import optuna
import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from numclip_lightning.runs.durable import write_whole
from numclip_lightning.runs.records import find_record
from numclip_lightning.runs.sweep.study import ERROR, KILLED, REPEATS, Sweep

__all__ = ["BEST", "facts_of", "write_best", "write_facts"]

BEST, FACTS = "best.yaml", "sweep.json"
_STATES = {
    TrialState.COMPLETE: "finished", TrialState.PRUNED: "stopped early", TrialState.FAIL: "failed",
    TrialState.RUNNING: "not ended", TrialState.WAITING: "waiting",
}  # fmt: skip
# Fewer say nothing about what matters.
_ENOUGH = 8


def facts_of(sweep: Sweep, words: Sequence[str]) -> dict[str, Any]:
    """Return the facts of a sweep as JSON has them; `report/html/sweep.py` makes a page of them.

    Args:
        sweep: The sweep.
        words: The words after `numclip sweep`.
    """
    trials, best, space = sweep.study.get_trials(deepcopy=False), sweep.best(), sweep.space
    repeated = {trial.user_attrs[REPEATS]: trial.number for trial in trials if REPEATS in trial.user_attrs}
    return {
        "command": shlex.join(["numclip", "sweep", *words]),
        "space": str(space.file.path),
        "method": space.method, "metric": space.metric, "goal": space.goal,
        "seed": sweep.seed, "training_seed": sweep.configuration.seed, "most": sweep.most,
        "parameters": {name: _described(one) for name, one in space.distributions.items()},
        "constants": dict(space.constants),
        "best": None if best is None else best.number,
        "importances": _importances(sweep),
        "trials": [_trial(sweep, trial, repeated.get(trial.number)) for trial in trials],
    }  # fmt: skip


def write_facts(sweep: Sweep, words: Sequence[str]) -> dict[str, Any]:
    """Write the facts of a sweep to `sweep.json` in its folder, and return them."""
    facts = facts_of(sweep, words)
    write_whole(sweep.folder / FACTS, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    return facts


def write_best(sweep: Sweep) -> None:
    """Write the configuration of the best trial to `best.yaml`, complete: what the sweep started from, and its values.

    What only trials have, such as a folder of their own and no progress bar, is not in it.
    """
    best = sweep.best()
    if best is None:
        return
    values = sweep.values(best)
    head = [
        f"The best of a sweep so far: trial {best.number}, {sweep.space.metric} {best.value:.6g} on validation images.",
        *(f"  {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()),
        "",
        f"  numclip fit --config {shlex.quote(str(sweep.folder / BEST))} --test_after_fit=true",
    ]
    comment = "\n".join(f"# {line}".rstrip() for line in head)
    settings = yaml.safe_dump(sweep.configuration.with_values(values), sort_keys=False)
    write_whole(sweep.folder / BEST, f"{comment}\n{settings}")


def _described(distribution: BaseDistribution) -> dict[str, Any]:
    if isinstance(distribution, CategoricalDistribution):
        return {"choices": list(distribution.choices)}
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return {"low": distribution.low, "high": distribution.high, "log": distribution.log}


def _trial(sweep: Sweep, trial: FrozenTrial, repeated_as: int | None) -> dict[str, Any]:
    record = find_record(sweep.planned(trial)) or {}
    killed = trial.user_attrs.get(KILLED, False)
    measured = record.get("metrics", {}).get(sweep.space.metric, math.nan)
    return {
        "number": trial.number,
        "state": "killed" if killed else _STATES[trial.state],
        "repeated_as": repeated_as,
        "value": trial.value if trial.state == TrialState.COMPLETE else (measured if math.isfinite(measured) else None),
        "validations": {str(step): value for step, value in sorted(trial.intermediate_values.items())},
        "values": trial.params,
        "seconds": record.get("seconds"),
        "error": trial.user_attrs.get(ERROR),
        "folder": f"trials/{trial.number:04d}",
    }


def _importances(sweep: Sweep) -> dict[str, float]:
    """Return how much each parameter matters for being among the best (PED-ANOVA); empty for few trials."""
    if len(sweep.space.distributions) < 2 or len(sweep.trials(TrialState.COMPLETE)) < _ENOUGH:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
    found: dict[str, float] = optuna.importance.get_param_importances(sweep.study, evaluator=evaluator)
    return found

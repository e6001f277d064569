"""The trials of a sweep in Optuna's study: what is tried next, and what has become of each, also after a kill."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import distribution_to_json
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from numclip_lightning.errors import ConfigError
from numclip_lightning.runs.flatten import flags_of, flatten
from numclip_lightning.runs.planned import PlannedTrial
from numclip_lightning.runs.records import find_record, tidy_folder
from numclip_lightning.runs.sweep.configuration import Configuration
from numclip_lightning.runs.sweep.space import Space
from numclip_lightning.runs.sweep.watching import STOPPED_AT, STUDY, TellStudy, storage_of

__all__ = ["ERROR", "KILLED", "REPEATS", "Sweep"]

_log = logging.getLogger(__name__)

# What the study keeps of a trial: why it failed; that it was killed, and doesn't count; which killed one it repeats.
ERROR, KILLED, REPEATS = "error", "killed", "repeats"
# What the study keeps of itself: the space and the configuration, so that no other is mixed with them.
_ASKED = "asked"
# So many failures from the start are no chance.
_MOST_FAILURES = 5


class Sweep:
    """A search in a folder, new or as far as it has come.

    The suggestion of a trial follows from the seed, its place among the trials that count and what has ended before: a
    sweep of one process that was killed goes on as if it had not been.

    Args:
        folder: Where it is kept: `study.db`, and a folder for each trial.
        space: What is searched.
        configuration: What the trials start from.
        seed: The seed of the suggestions, 0 or more.
        most: How many trials there are at most; a killed one that is repeated counts once. None for a grid, which
            ends by itself.

    Raises:
        ConfigError: If another search is kept in the folder.
    """

    def __init__(
        self, folder: Path, space: Space, configuration: Configuration, *, seed: int, most: int | None
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder, self.space, self.configuration, self.seed = folder, space, configuration, seed
        self.grid = space.grid
        self.most = min(limit for limit in (len(self.grid) or None, most) if limit is not None)
        self._storage = storage_of(folder)
        self.study = optuna.create_study(
            study_name=STUDY, storage=self._storage, direction=space.goal, load_if_exists=True
        )
        self._failures, self._finished = 0, bool(self.trials(TrialState.COMPLETE))
        self._require_same()

    @property
    def gives_up(self) -> bool:
        """Whether everything has failed so far, several times: what comes will fail as well."""
        return not self._finished and self._failures >= _MOST_FAILURES

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials that count, those in a few states or all."""
        found = self.study.get_trials(deepcopy=False, states=states or None)
        return [trial for trial in found if not trial.user_attrs.get(KILLED)]

    def settle_earlier(self) -> int:
        """Look at the trials that were at work when the sweep was stopped or killed.

        One that has ended meanwhile counts as it ended; another one has failed, and is tried again.

        Returns:
            How many are tried again.
        """
        again = 0
        for trial in self.trials(TrialState.RUNNING):
            run = self.planned(trial)
            if record := find_record(run):
                self.settle(run, record)
                continue
            again += 1
            if run.folder.is_dir():
                # The log of what there was is kept.
                tidy_folder(run.folder, keep_checkpoints=False)
            self._note(trial.number, KILLED, True)
            self.study.tell(trial.number, state=TrialState.FAIL)
            self.study.enqueue_trial(trial.params, user_attrs={REPEATS: trial.number})
        return again

    def next_trial(self) -> PlannedTrial | None:
        """Return the next trial, or None if there are enough, or everything has failed so far."""
        waiting = bool(self.trials(TrialState.WAITING))
        started = [trial for trial in self.trials() if trial.state != TrialState.WAITING]
        if self.gives_up or len(started) >= self.most:
            return None
        if self.grid and not waiting:
            tried = [trial.params for trial in started]
            self.study.enqueue_trial(next(values for values in self.grid if values not in tried))
        self.study.sampler = self._sampler(len(started))
        trial = self.study.ask(dict(self.space.distributions))
        return self.planned(trial)

    def planned(self, trial: FrozenTrial | optuna.Trial) -> PlannedTrial:
        """Return the run of a trial."""
        configuration, number = self.configuration, trial.number
        data, method = configuration.names
        return PlannedTrial(
            dataset=data, method=method, fold=0, shots=configuration.shots, seed=configuration.seed, trains=True,
            words=("fit", *configuration.words, *flags_of(self.values(trial))),
            folder=self.folder.absolute() / "trials" / f"{number:04d}", trial=str(number),
            callbacks=(TellStudy(self.folder.absolute(), number, self.space.metric, self.space.halving),),
        )  # fmt: skip

    def values(self, trial: FrozenTrial | optuna.Trial) -> dict[str, Any]:
        """Return the values of a trial by the names that the command line has, in the order of the space."""
        chosen = {name: trial.params[name] for name in self.space.distributions if name in trial.params}
        return {**self.space.constants, **chosen}

    def settle(self, run: PlannedTrial, record: Mapping[str, Any] | None) -> str:
        """Note the result of a trial.

        Args:
            run: The trial.
            record: Its record; None if it has none.

        Returns:
            The result in words.
        """
        number, metric = int(run.trial), self.space.metric
        trial = self.study.get_trials(deepcopy=False)[number]
        value = float((record or {}).get("metrics", {}).get(metric, math.nan))
        if record is None or record["status"] != "finished":
            return self._fail(number, "it left no record" if record is None else record["error"])
        if not math.isfinite(value):
            return self._fail(number, f"it has no {metric} that is a finite number")
        self._finished = True
        if STOPPED_AT in trial.user_attrs:
            self.study.tell(number, state=TrialState.PRUNED)
            return f"stopped early after validation {trial.user_attrs[STOPPED_AT]}, {metric} {value:.4g}"
        self.study.tell(number, value)
        return f"{metric} {value:.4g}, {record['seconds']:.0f} s"

    def best(self) -> FrozenTrial | None:
        """Return the best trial that came to its end, of equal ones the first; None if there is none."""
        complete = self.trials(TrialState.COMPLETE)
        sign = 1 if self.space.goal == "minimize" else -1
        return min(complete, key=lambda trial: sign * float(trial.value or 0), default=None)

    def _fail(self, number: int, reason: str) -> str:
        self._failures += 1
        self._note(number, ERROR, reason)
        self.study.tell(number, state=TrialState.FAIL)
        return f"FAILED: {reason} ({self.folder / 'trials' / f'{number:04d}'})"

    def _note(self, number: int, name: str, value: Any) -> None:
        of_study = self._storage.get_study_id_from_name(STUDY)
        trial = self._storage.get_trial_id_from_study_id_trial_number(of_study, number)
        self._storage.set_trial_user_attr(trial, name, value)

    def _sampler(self, place: int) -> BaseSampler:
        """Return what suggests the trial at a place: with a seed of its own, as no state is kept between two calls."""
        seed = int(np.random.SeedSequence([self.seed, place]).generate_state(1)[0])
        return TPESampler(seed=seed) if self.space.method == "bayes" else RandomSampler(seed=seed)

    def _require_same(self) -> None:
        """Keep what is searched with the study, and refuse to go on with something else."""
        space = self.space
        asked: dict[str, Any] = {
            "method": space.method, "metric": space.metric, "goal": space.goal, "--seed": self.seed,
            "early_terminate": str(space.halving),
            "parameters": {name: distribution_to_json(one) for name, one in space.distributions.items()},
            "values": dict(space.constants), "configuration": self.configuration.flat,
        }  # fmt: skip
        kept = self.study.user_attrs.get(_ASKED)
        if kept is None:
            self.study.set_user_attr(_ASKED, asked)
            return
        before, now = flatten(kept), flatten(asked)
        for name in [*before, *now]:
            # A newer version of this package may have more keys.
            is_new = name.startswith("configuration.") and (name not in before or name not in now)
            if not is_new and before.get(name) != now.get(name):
                raise ConfigError(
                    f"{self.folder} holds a sweep with {name.removeprefix('configuration.')}: "
                    f"{before.get(name, 'nothing')}; now it is {now.get(name, 'nothing')}. To begin another sweep, "
                    "give another --output."
                )

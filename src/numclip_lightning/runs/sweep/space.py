"""The space that a sweep searches, in the format of W&B's sweeps."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal, cast

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics import measure_of
from numclip_lightning.runs.sweep.halving import Halving, read_halving
from numclip_lightning.runs.sweep.parameters import Constant, read_parameter
from numclip_lightning.runs.sweep.space_file import Keys, SpaceFile

__all__ = ["Goal", "Space", "read_space"]

Goal = Literal["minimize", "maximize"]

# Where the sweep lives at W&B, and how its agents call this program: nothing that a search depends on.
_OF_WANDB = ("command", "description", "entity", "name", "program", "project")
_KEYS = ("method", "metric", "parameters", "early_terminate", "run_cap", *_OF_WANDB)
_METHODS = ("bayes", "random", "grid")
_BETTER: dict[Goal, str] = {"minimize": "lower", "maximize": "higher"}
# What a search may not choose, and why.
_FIXED = {
    "test_after_fit": "no trial looks at test images",
    "data.select_on": "what trials are compared by has to be validation images; set it in the configuration",
    "trainer.default_root_dir": "each trial has a folder of its own below --output",
    "trainer.devices": "each trial has one device; --workers says how many run at once",
    "ckpt_path": "the settings in a checkpoint go before those of a trial",
}
_SEEDS = ("seed", "seed_everything", "split_seed")


@dataclass(frozen=True, kw_only=True)
class Space:
    """What is searched, and how.

    Attributes:
        file: The file that it is read from.
        method: `bayes` (a tree-structured Parzen estimator), `random` or `grid`.
        metric: What trials are compared by, such as `val_mae`.
        goal: `minimize` or `maximize`.
        distributions: What is chosen, by the names that the command line has.
        constants: What all trials have, likewise.
        halving: When a trial is stopped early; None for never.
        run_cap: How many trials there are at most, if the file says so.
        command: How an agent of W&B calls the program; empty if the file doesn't say.
        keys: The way to each parameter in the file.
    """

    file: SpaceFile
    method: str
    metric: str
    goal: Goal
    distributions: Mapping[str, BaseDistribution]
    constants: Mapping[str, Any]
    halving: Halving | None
    run_cap: int | None
    command: tuple[str, ...] = ()
    keys: Mapping[str, Keys] = field(default_factory=dict)

    @property
    def grid(self) -> list[dict[str, Any]]:
        """All combinations, in the order of the file, the last parameter fastest; empty unless the method is grid."""
        if self.method != "grid":
            return []
        return [
            dict(zip(self.distributions, values, strict=True))
            for values in product(*map(_all_values, self.distributions.values()))
        ]

    def error(self, name: str, problem: str) -> ConfigError:
        """Return an error about a parameter, with its place in the file."""
        return self.file.error(self.keys[name], problem)


def read_space(path: Path) -> Space:
    """Read a space.

    Args:
        path: A YAML file such as `configs/sweeps/aesthetics.yaml`.

    Raises:
        ConfigError: If something in it is wrong, or is not known here; with its line.
    """
    file = SpaceFile(path)
    file.require_keys((), file.content, _KEYS)
    method = file.content.get("method")
    if not isinstance(method, str):
        raise ConfigError(f"{path} has no method; give one of {', '.join(_METHODS)}.")
    file.require_keys(("method",), [method], _METHODS)
    metric, goal = _metric(file)
    given = file.content.get("parameters")
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(f"{path} has no parameters; name at least one key of the configuration.")
    found: dict[str, BaseDistribution | Constant] = {}
    keys: dict[str, Keys] = {}
    for name, where, entry in _entries(given, "", ("parameters",)):
        _check_name(file, name, where, keys)
        found[name], keys[name] = read_parameter(file, where, entry), where
    space = Space(
        file=file, method=method, metric=metric, goal=goal,
        distributions={name: one for name, one in found.items() if isinstance(one, BaseDistribution)},
        constants={name: one.value for name, one in found.items() if isinstance(one, Constant)},
        halving=read_halving(file), run_cap=_run_cap(file),
        command=_command(file), keys=keys,
    )  # fmt: skip
    _check(space)
    return space


def _metric(file: SpaceFile) -> tuple[str, Goal]:
    """Return the name of the metric and its goal; without any, the metric that also chooses checkpoints."""
    given = file.content.get("metric", {"name": "val_mae"})
    if not isinstance(given, Mapping) or "name" not in given:
        raise file.error(("metric",), "give {name: val_mae, goal: minimize}.")
    file.require_keys(("metric",), given, ("name", "goal"))
    name, goal = str(given["name"]), cast("Goal", str(given.get("goal", "minimize")))
    file.require_keys(("metric", "goal"), [goal], _BETTER)
    if name.startswith("test_"):
        raise file.error(
            ("metric", "name"),
            f"{name} is of test images: what is chosen by them is no result on them. Give "
            f"val_{name.removeprefix('test_')}.",
        )
    if not name.startswith("val_"):
        raise file.error(("metric", "name"), f"{name!r} is no metric on validation images; give one, such as val_mae.")
    try:
        measure = measure_of(name)
    except ConfigError:
        # A metric of the user's own; the first trial says whether there is one.
        return name, goal
    if measure.better != _BETTER[goal]:
        raise file.error(
            ("metric", "goal"), f"{goal} takes a bad trial: {name} is better if it is {measure.direction}."
        )
    return name, goal


def _entries(given: Mapping[Any, Any], above: str, keys: Keys) -> Iterator[tuple[str, Keys, Any]]:
    """Yield each parameter with its name as the command line has it, the way to it, and its entry."""
    for name, entry in given.items():
        own, way = f"{above}{name}", (*keys, str(name))
        if isinstance(entry, Mapping) and isinstance(entry.get("parameters"), Mapping) and len(entry) == 1:
            yield from _entries(entry["parameters"], f"{own}.", (*way, "parameters"))
        else:
            yield own, way, entry


def _check_name(file: SpaceFile, name: str, where: Keys, known: Mapping[str, Keys]) -> None:
    plain = name.replace(".init_args.", ".")
    if plain in _FIXED:
        raise file.error(where, f"this is the same in all trials: {_FIXED[plain]}.")
    if plain.rpartition(".")[2] in _SEEDS:
        raise file.error(where, "a search over seeds only finds lucky ones; leave it out.")
    for other in known:
        if other.replace(".init_args.", ".") == plain:
            raise file.error(where, f"this parameter is there twice, first in line {file.line(known[other])}.")


def _command(file: SpaceFile) -> tuple[str, ...]:
    given = file.content.get("command") or []
    return tuple(shlex.split(given) if isinstance(given, str) else map(str, given))


def _run_cap(file: SpaceFile) -> int | None:
    cap = file.content.get("run_cap")
    if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int) or cap < 1):
        raise file.error(("run_cap",), f"{cap!r} is no number of trials; give 1 or more.")
    return cap


def _check(space: Space) -> None:
    if not space.distributions:
        raise ConfigError(f"{space.file.path} has one value for each parameter, and nothing to choose; give values.")
    if space.method != "grid":
        return
    for name, distribution in space.distributions.items():
        if isinstance(distribution, FloatDistribution) and distribution.step is None:
            raise space.error(name, "a grid needs values, int_uniform or q_uniform; this range has no end of values.")


def _all_values(distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    assert isinstance(distribution, FloatDistribution)
    assert distribution.step is not None
    steps = round((distribution.high - distribution.low) / distribution.step)
    # The last one exactly: a sum of steps may be beyond it.
    return [min(distribution.low + step * distribution.step, distribution.high) for step in range(steps + 1)]

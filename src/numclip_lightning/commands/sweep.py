"""`numclip sweep`: search for good settings with Optuna, in a space of W&B's kind and without an account."""

import logging
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt, PositiveInt
from optuna.trial import TrialState
from tqdm import tqdm

from numclip_lightning.errors import ConfigError
from numclip_lightning.report.html.sweep import write_sweep_page
from numclip_lightning.report.sweep import count_states, write_trials
from numclip_lightning.runs.code import current_code
from numclip_lightning.runs.sweep import watching
from numclip_lightning.runs.sweep.configuration import Configuration
from numclip_lightning.runs.sweep.history import BEST, write_best, write_facts
from numclip_lightning.runs.sweep.space import Space, read_space
from numclip_lightning.runs.sweep.study import Sweep
from numclip_lightning.runs.workers import execute_next

__all__ = ["sweep"]

_log = logging.getLogger(__name__)

# What shells give a command that was stopped with Ctrl-C.
_STOPPED = 130
_TRIALS = 20
_HELP = ("--help", "-h")
_OWN = ("--space", "--output", "--trials", "--workers", "--seed", "--keep_checkpoints", *_HELP)


def sweep(words: Sequence[str]) -> int:
    """Run a sweep, or the rest of it; write its history and its best configuration.

    Args:
        words: The words after `numclip sweep`.

    Returns:
        0 if a trial has come to its end, 1 if none has, 130 if it was stopped with Ctrl-C.

    Raises:
        ConfigError: If the space or the configuration is wrong, or the folder holds another sweep.
    """
    own, rest = _divide(words)
    given = _parser().parse_args(own)
    space = read_space(Path(given.space))
    if not any(word.partition("=")[0] in ("--config", "-c") for word in rest):
        raise ConfigError(f"give --config, a complete configuration that the trials start from{_hint(space)}.")
    _refuse_both(space, rest)
    configuration = Configuration(rest)
    configuration.check(space)
    if left_out := _left_out(space.command, rest):
        _log.info("not taken from its command at W&B: %s", " ".join(left_out))
    folder = Path(given.output or Path("runs", "sweeps", Path(given.space).stem))
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "sweep.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"another sweep is at work in {folder}; wait for it, or give another --output.") from error
    with lock:
        most = given.trials or space.run_cap or (None if space.grid else _TRIALS)
        found = Sweep(folder, space, configuration, seed=given.seed, most=most)
        return _search(found, words, workers=given.workers, keep_checkpoints=given.keep_checkpoints)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="numclip sweep",
        usage="numclip sweep --config FILE --space FILE [--KEY=VALUE]...",
        description="Search for good settings by the validation images; a stopped sweep goes on. All other flags are "
        "those of numclip fit, and the same in every trial.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--space", type=str, required=True,
        help="What is searched: a sweep file of W&B's kind (configs/sweeps/counting.yaml).")  # fmt: skip
    add("--output", type=str | None, default=None,
        help="The folder of the sweep; runs/sweeps and the name of the space by default.")  # fmt: skip
    add("--trials", type=PositiveInt | None, default=None,
        help=f"How many trials, over all calls; by default run_cap of the space, the grid, or {_TRIALS}.")  # fmt: skip
    add("--workers", type=PositiveInt, default=1,
        help="How many trials at once, each on one device; GPUs are used in turn.")  # fmt: skip
    add("--seed", type=NonNegativeInt, default=0,
        help="The seed of the suggestions; that of the trials is --seed_everything.")  # fmt: skip
    add("--keep_checkpoints", type=bool, default=False,
        help="Whether the checkpoints of the trials are kept; they take most of the space.")  # fmt: skip
    return parser


def _divide(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words of the sweep's own flags, each with its value, and the words of `numclip fit`."""
    own, rest, iterator = list[str](), list[str](), iter(words)
    for word in iterator:
        flag, equals, _ = word.partition("=")
        if flag not in _OWN:
            rest.append(word)
        else:
            own += [word] if equals or flag in _HELP else [word, *islice(iterator, 1)]
    return own, rest


def _hint(space: Space) -> str:
    """Return the configuration that the file's own command names."""
    named = [word for word in space.command if word.endswith((".yaml", ".yml"))]
    return f"; its command at W&B has --config {named[0]}" if named else ""


def _refuse_both(space: Space, words: Sequence[str]) -> None:
    """Refuse a flag that every trial would set again."""
    for word in words:
        name = word.partition("=")[0].removeprefix("--")
        if name in space.keys:
            raise space.error(name, f"{word} is given as well; remove one of them.")


def _left_out(command: Sequence[str], words: Sequence[str]) -> list[str]:
    """Return the flags of an agent's command that are not given here; what is in `${...}` is the agent's own."""
    given = _flags(words)
    return [flag for flag in _flags(command) if flag not in given]


def _flags(words: Sequence[str]) -> list[str]:
    """Return flags with their values, each as one word."""
    found: list[str] = []
    for word in words:
        if word.startswith("--"):
            found.append(word)
        elif found and "=" not in found[-1] and not word.startswith("${"):
            found[-1] += f"={word}"
    return found


def _search(found: Sweep, words: Sequence[str], *, workers: int, keep_checkpoints: bool) -> int:
    """Run the trials that are missing, and write what they leave, also after Ctrl-C."""
    if again := found.settle_earlier():
        _log.info("%d trial%s had not ended when the sweep was stopped, and %s repeated",
                  again, "s" * (again > 1), "are" if again > 1 else "is")  # fmt: skip
    code, stopped = current_code(), False
    ended = execute_next(
        found.next_trial, code, processes=workers, keep_checkpoints=keep_checkpoints, preload=[watching.__name__]
    )
    done = len(found.trials(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    try:
        # Closed in any case: that ends the trials at work.
        with tqdm(total=found.most, initial=min(done, found.most), unit="trial", smoothing=0) as bar, closing(ended):
            for run, record in ended:
                before, outcome = found.best(), found.settle(run, record)
                bar.update()
                bar.write(f"trial {run.trial}: {outcome}")
                if found.best() != before:
                    write_best(found)
                write_facts(found, words)
    except KeyboardInterrupt:
        found.settle_earlier()
        stopped = True
    if found.gives_up:
        _log.warning("the first trials have all failed; the others are not tried. The same command tries further ones")
    return _conclude(found, write_facts(found, words), stopped=stopped)


def _conclude(found: Sweep, facts: dict[str, Any], *, stopped: bool) -> int:
    """Write the history, and say what came out."""
    write_best(found)
    write_trials(facts, found.folder / "trials.csv")
    page = write_sweep_page(facts, found.folder / "sweep.html")
    _log.info("%s; the history is %s", count_states(facts), page)
    best = found.best()
    if best is not None:
        print(f"\nBest of them: trial {best.number}, {facts['metric']} {best.value:.4g}")  # noqa: T201
        for name, value in found.values(best).items():
            print(f"  {name}: {value}")  # noqa: T201
        print(f"To fit and test it:\n  numclip fit --config {found.folder / BEST} --test_after_fit=true")  # noqa: T201
    if stopped:
        _log.warning("stopped; the same command goes on")
        return _STOPPED
    return int(best is None)

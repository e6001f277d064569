"""`numclip benchmark`: plan, run what is missing, report."""

import logging
import shlex
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from tqdm import tqdm

from numclip_lightning.errors import ConfigError
from numclip_lightning.report.page import check_page, update_page
from numclip_lightning.report.report import Request, write_report
from numclip_lightning.report.results import shots_name
from numclip_lightning.runs.code import COMMIT
from numclip_lightning.runs.plan import Benchmark, PlannedRun, plan
from numclip_lightning.runs.terminal import unwrap_errors
from numclip_lightning.runs.workers import execute, find_record, has_finished

__all__ = ["benchmark", "parse"]

_log = logging.getLogger(__name__)

# What shells give a command that was stopped with Ctrl-C.
_STOPPED = 130


def benchmark(words: Sequence[str]) -> int:
    """Run a benchmark, or what is left of it, and write its report.

    Args:
        words: What follows `numclip benchmark`.

    Returns:
        0 if every run has finished, 1 if one has failed or is missing, 130 if it was stopped with Ctrl-C.

    Raises:
        ConfigError: If the configuration is wrong, or none of the datasets is here.
        DataError: If none of the runs has a record.
    """
    chosen, output, report_only = parse(words)
    here = _datasets_here(chosen)
    request = _request(chosen, here, words)
    request.check(list(chosen.methods), here)
    if chosen.page:
        check_page(Path(chosen.page))
    runs = plan(chosen)
    if not (report_only or _run_all(chosen, runs)):
        return _STOPPED
    records = [record for run in runs if (record := find_record(run))]
    report = write_report([run.entry for run in runs], records, output, request)
    finished = sum(map(has_finished, runs))
    _log.info("%d of %d runs have finished; the report is %s", finished, len(runs), report)
    if chosen.page and (report_only or finished == len(runs)):
        update_page(Path(chosen.page), report)
    elif chosen.page:
        _log.warning("%s is left as it is until all runs have finished, or --report_only=true asks for it", chosen.page)
    return int(finished < len(runs))


def parse(words: Sequence[str]) -> tuple[Benchmark, Path, bool]:
    """Read what a benchmark is asked to do.

    Args:
        words: What follows `numclip benchmark`.

    Returns:
        The benchmark, the folder of its report, and whether nothing is to be run.

    Raises:
        ConfigError: If the configuration is wrong.
    """
    parser = ArgumentParser(
        prog="numclip benchmark",
        # In place of the names of all flags, which would hide the error that follows.
        usage="numclip benchmark --config FILE [--KEY=VALUE]...",
        description="Run every method on every dataset and compare them; a benchmark that was stopped goes on.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="A file such as configs/benchmarks/smoke.yaml.")
    parser.add_class_arguments(Benchmark)
    parser.add_argument("--report_only", type=bool, default=False, help="Run nothing; report what there is.")
    config = parser.parse_args(list(words))
    files, report_only = config.pop("config") or [], config.pop("report_only")
    with unwrap_errors():
        chosen = Benchmark(**parser.instantiate_classes(config).as_dict())
    name = Path(str(files[0])).stem if files else "benchmark"
    return chosen, Path(chosen.output or Path(chosen.root, "reports", name)), report_only


def _datasets_here(chosen: Benchmark) -> list[str]:
    """Return the datasets that can be run on, and say which can't."""
    away = {name: entry.needs for name, entry in chosen.datasets.items() if not entry.is_here}
    if len(away) == len(chosen.datasets):
        lacking = ", ".join(f"{name} needs {folder}" for name, folder in away.items())
        raise ConfigError(f"none of the datasets is here: {lacking}; fetch one, or mend its needs.")
    for name, folder in away.items():
        _log.warning("%s is left out: %s is not here", name, folder)
    for name, mean in chosen.means.items():
        if gone := [dataset for dataset in mean.of if dataset in away]:
            _log.warning("the mean %s is left out: %s is not here", name, gone[0])
    return [name for name in chosen.datasets if name not in away]


def _request(chosen: Benchmark, here: Sequence[str], words: Sequence[str]) -> Request:
    means = {name: mean for name, mean in chosen.means.items() if set(mean.of) <= set(here)}
    published = {
        **{name: chosen.datasets[name].published for name in here},
        **{name: mean.published for name, mean in means.items()},
    }
    return Request(
        title=chosen.title,
        command=shlex.join(["numclip", "benchmark", *_repeatable(words)]),
        metrics=chosen.metrics,
        compare_to=chosen.compare_to,
        published={name: source for name, source in published.items() if source},
        means={name: mean.of for name, mean in means.items()},
    )


def _repeatable(words: Sequence[str]) -> list[str]:
    """Leave out what a reader doesn't repeat: a report is not made by reporting alone, and their page is another."""
    kept, rest = list[str](), iter(words)
    for word in rest:
        name, sign, _ = word.partition("=")
        if name not in ("--report_only", "--page"):
            kept.append(word)
        elif not sign:
            # Its value is the next word.
            next(rest, None)
    return kept


def _run_all(chosen: Benchmark, runs: Sequence[PlannedRun]) -> bool:
    """Do what isn't finished yet; return False if it was stopped with Ctrl-C."""
    done = sum(map(has_finished, runs))
    _warn_of_other_code(chosen, runs)
    ended = execute(runs, processes=chosen.processes, keep_checkpoints=chosen.keep_checkpoints)
    try:
        # Closed whatever happens here: it ends the runs that are under way.
        with tqdm(total=len(runs), initial=done, unit="run", smoothing=0) as bar, closing(ended):
            for run, record in ended:
                bar.update()
                where = f"{run.dataset}, {run.method}, fold {run.fold}, {shots_name(run.shots)}, seed {run.seed}"
                bar.write(f"{where}: {_outcome(record, chosen.metrics)}")
    except KeyboardInterrupt:
        _log.warning(
            "stopped: %d of %d runs have finished; the same command goes on with the others, and with "
            "--report_only=true it reports what there is",
            sum(map(has_finished, runs)), len(runs),
        )  # fmt: skip
        return False
    return True


def _warn_of_other_code(chosen: Benchmark, runs: Sequence[PlannedRun]) -> None:
    """Say which finished runs are kept although the code has changed since: whether it matters, no digest can tell."""
    records = [record for run in runs if (record := find_record(run))]
    kept = [record.get("commit") for record in records if record["status"] == "finished"]
    if others := [commit for commit in kept if commit != COMMIT]:
        _log.warning(
            "%d of %d finished runs were made by other code (commit %s; this is %s) and are kept; to do them again, "
            "delete their folders in %s, or give another --root",
            len(others), len(kept), ", ".join(sorted({commit or "unknown" for commit in others})),
            COMMIT or "unknown", chosen.root,
        )  # fmt: skip


def _outcome(record: dict[str, Any] | None, metrics: Sequence[str]) -> str:
    if record is None:
        return "left to another process that is at it"
    if record["status"] != "finished":
        return f"FAILED: {record['error']} ({record['folder']})"
    found = [f"{name} {record['metrics'][name]:.3f}" for name in metrics if name in record["metrics"]]
    return ", ".join([*found, f"{record['seconds']:.0f} s"])

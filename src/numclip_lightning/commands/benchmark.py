"""`numclip benchmark`: plan, run what is missing, report."""

import logging
import shlex
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tqdm import tqdm

from numclip_lightning.commands.benchmark_words import parse, repeatable
from numclip_lightning.errors import ConfigError
from numclip_lightning.progress import busy
from numclip_lightning.report.cross import Crossed
from numclip_lightning.report.frame import run_name
from numclip_lightning.report.joined_methods import Members, join_methods
from numclip_lightning.report.marks import check_page, update_page
from numclip_lightning.report.report import Request, write_report
from numclip_lightning.report.stranger_methods import Strangers, answer_methods
from numclip_lightning.report.strangers import read_stranger
from numclip_lightning.report.trials import Tried
from numclip_lightning.runs.archive import pack_runs, unpack_runs
from numclip_lightning.runs.benchmark import Benchmark
from numclip_lightning.runs.code import current_code
from numclip_lightning.runs.plan import plan, plan_trials
from numclip_lightning.runs.planned import PlannedRun, PlannedTrial
from numclip_lightning.runs.planned_mistakes import refuse_planned_mistakes
from numclip_lightning.runs.records import find_record, has_finished
from numclip_lightning.runs.tuning import choose
from numclip_lightning.runs.workers import execute

__all__ = ["benchmark"]

_log = logging.getLogger(__name__)

# What shells give a command that was stopped with Ctrl-C.
_STOPPED = 130


def benchmark(words: Sequence[str]) -> int:
    """Run a benchmark, or the rest of it, and write its report.

    Args:
        words: The words after `numclip benchmark`.

    Returns:
        0 if every run has finished, 1 if one has failed or is missing, 130 if it was stopped with Ctrl-C.

    Raises:
        ConfigError: If the configuration is wrong, or none of the datasets is here.
        DataError: If none of the runs has a record.
    """
    chosen, output, report_only = parse(words)
    here = _datasets_here(chosen)
    request = _request(chosen, here, words)
    request.check([*chosen.methods, *chosen.ensembles], here)
    if chosen.page:
        check_page(Path(chosen.page))
    _unpack(chosen)
    strangers = _strangers(chosen, here)
    # Before the trials: what is wrong in a configuration is said before anything is run.
    trials, runs = plan_trials(chosen), plan(chosen)
    if not report_only and chosen.on_mistakes == "refuse":
        refuse_planned_mistakes([*trials, *(run for run in runs if not has_finished(run))])
    if trials:
        if not (report_only or _run_all(chosen, trials)):
            _pack(chosen, [*trials, *runs])
            return _STOPPED
        runs = plan(chosen, choose(trials))
    tests = [test for run in runs for test in run.tests]
    if not (report_only or _run_all(chosen, runs)):
        _pack(chosen, [*trials, *runs, *tests])
        return _STOPPED
    crossed = Crossed([test.entry for test in tests], _records(tests))
    whole, found = _with_answers(chosen, strangers, runs)
    with busy("writing the report"):
        report = write_report(whole, found, output, request, crossed, _tried(trials))
    jobs = [*runs, *tests]
    finished = sum(map(has_finished, jobs))
    counted = "%d of %d runs have finished" + (f" ({len(tests)} of them tests on other images)" if tests else "")
    _log.info(counted + "; the report is %s", finished, len(jobs), report)
    if chosen.page and (report_only or finished == len(jobs)):
        update_page(Path(chosen.page), report)
    elif chosen.page:
        _log.warning("%s is left as it is until all runs have finished, or --report_only=true asks for it", chosen.page)
    _pack(chosen, [*trials, *jobs])
    theirs = [record for record in found if record["method"] in strangers]
    for record in theirs:
        if record["status"] == "failed":
            _log.warning("%s: %s", run_name(record), record["error"])
        elif record["unanswered"]:
            _log.warning("%s: %d images have no answer and count as guessing", run_name(record), record["unanswered"])
    return int(finished < len(jobs) or any(record["status"] == "failed" for record in theirs))


def _unpack(chosen: Benchmark) -> None:
    """Go on from the archive, if there is one."""
    if chosen.archive and (archive := Path(chosen.archive)).exists():
        with busy("unpacking the archive"):
            new = unpack_runs(archive, Path(chosen.root))
        _log.info("%s: %d runs are new in %s", archive, new, chosen.root)


def _pack(chosen: Benchmark, jobs: Sequence[PlannedRun]) -> None:
    """Put what has finished into the archive, if one is asked for."""
    if chosen.archive:
        archive = Path(chosen.archive)
        with busy("packing the archive"):
            packed = pack_runs(jobs, Path(chosen.root), archive, ensembles=bool(chosen.ensembles))
        _log.info("%s has %d runs", archive, packed)


def _strangers(chosen: Benchmark, here: Sequence[str]) -> dict[str, Strangers]:
    """Read the predictions of other programs, those that are of datasets that are here."""
    found = {}
    for name, method in chosen.methods.items():
        if method.predictions is None:
            continue
        own = method.predictions
        files = own if isinstance(own, dict) else dict.fromkeys(here, own)
        files = {dataset: file for dataset, file in files.items() if dataset in here}
        read = {dataset: read_stranger(Path(file), method.columns) for dataset, file in files.items()}
        found[name] = Strangers(read, method.unanswered)
    return found


def _with_answers(
    chosen: Benchmark, strangers: Mapping[str, Strangers], runs: Sequence[PlannedRun]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the planned runs and their records, then those that are made of files: of other programs, of ensembles."""
    planned, records, root = [run.entry for run in runs], _records(runs), Path(chosen.root)
    rows, found = answer_methods(strangers, planned, records, root)
    planned, records = [*planned, *rows], [*records, *found]
    members = {name: Members(entry.of, entry.across_seeds) for name, entry in chosen.ensembles.items()}
    rows, found = join_methods(members, planned, records, root)
    return [*planned, *rows], [*records, *found]


def _tried(trials: Sequence[PlannedTrial]) -> Tried:
    best = choose(trials)
    return Tried(
        [{**trial.entry, "chosen": best.get(trial.place) == trial.trial} for trial in trials], _records(trials)
    )


def _records(runs: Sequence[PlannedRun]) -> list[dict[str, Any]]:
    return [record for run in runs if (record := find_record(run))]


def _datasets_here(chosen: Benchmark) -> list[str]:
    """Return the datasets that are here, and warn of the others."""
    away = {name: entry.needs for name, entry in chosen.datasets.items() if not entry.is_here}
    if len(away) == len(chosen.datasets):
        lacking = ", ".join(f"{name} needs {folder}" for name, folder in away.items())
        raise ConfigError(f"none of the datasets is here: {lacking}; fetch one, or correct its needs.")
    for name, folder in away.items():
        _log.warning("%s is left out: %s is not here", name, folder)
    for name, mean in chosen.means.items():
        if gone := [dataset for dataset in mean.of if dataset in away]:
            _log.warning("the mean %s is left out: %s is not here", name, gone[0])
    here = [name for name in chosen.datasets if name not in away]
    for name in here:
        for other, test in chosen.datasets[name].tests.items():
            if not test.is_here:
                _log.warning("%s is not tested on %s: %s is not here", name, other, test.needs)
    return here


def _request(chosen: Benchmark, here: Sequence[str], words: Sequence[str]) -> Request:
    means = {name: mean for name, mean in chosen.means.items() if set(mean.of) <= set(here)}
    published = {
        **{name: chosen.datasets[name].published for name in here},
        **{name: mean.published for name, mean in means.items()},
    }
    return Request(
        title=chosen.title,
        command=shlex.join(["numclip", "benchmark", *repeatable(words)]),
        metrics=chosen.metrics,
        compare_to=chosen.compare_to,
        published={name: source for name, source in published.items() if source},
        means={name: mean.of for name, mean in means.items()},
    )


def _run_all(chosen: Benchmark, planned: Sequence[PlannedRun]) -> bool:
    """Execute the runs that aren't finished yet; return False if stopped with Ctrl-C."""
    runs = [run for run in planned if not run.waits]
    for run in planned:
        if run.waits:
            _log.warning("%s is not run: no trial of it has finished", run_name(run.entry))
    jobs = [job for run in runs for job in (run, *run.tests)]
    done = sum(map(has_finished, jobs))
    # Once, at the start: a commit made while the benchmark runs is not in its runs.
    code = current_code()
    _warn_of_other_code(chosen, runs, code.commit)
    ended = execute(runs, code, processes=chosen.processes, keep_checkpoints=chosen.keep_checkpoints)
    try:
        # Closed in any case: that ends the current runs.
        with tqdm(total=len(jobs), initial=done, unit="run", smoothing=0) as bar, closing(ended):
            for run, record in ended:
                bar.update()
                bar.write(f"{run_name(run.entry)}: {_outcome(record, chosen.metrics)}")
    except KeyboardInterrupt:
        _log.warning(
            "stopped: %d of %d runs have finished; the same command goes on with the others, and with "
            "--report_only=true it reports those that exist",
            sum(map(has_finished, jobs)), len(jobs),
        )  # fmt: skip
        return False
    return True


def _warn_of_other_code(chosen: Benchmark, runs: Sequence[PlannedRun], here: str | None) -> None:
    """Warn of finished runs that are kept although the code has changed since; no digest shows whether it matters."""
    records = [record for run in runs if (record := find_record(run))]
    kept = [record.get("commit") for record in records if record["status"] == "finished"]
    if others := [commit for commit in kept if commit != here]:
        _log.warning(
            "%d of %d finished runs were made by other code (commit %s; this is %s) and are kept; to repeat them, "
            "delete their folders in %s, or give another --root",
            len(others), len(kept), ", ".join(sorted({commit or "unknown" for commit in others})),
            here or "unknown", chosen.root,
        )  # fmt: skip


def _outcome(record: dict[str, Any] | None, metrics: Sequence[str]) -> str:
    if record is None:
        return "left to another process that is running it"
    if record["status"] != "finished":
        return f"FAILED: {record['error']} ({record['folder']})"
    # A trial has no test; what it is chosen by says more.
    names = [*metrics, *(["val_mae"] if "trial" in record else [])]
    found = [f"{name} {record['metrics'][name]:.3f}" for name in names if name in record["metrics"]]
    return ", ".join([*found, f"{record['seconds']:.0f} s"])

"""`numclip benchmark`: plan, run what is missing, report."""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from tqdm import tqdm

from numclip_lightning.benchmark.execute import execute, find_record, has_finished
from numclip_lightning.benchmark.page import check_page, update_page
from numclip_lightning.benchmark.plan import Benchmark, PlannedRun, plan
from numclip_lightning.benchmark.report import Request, write_report
from numclip_lightning.benchmark.results import shots_name

__all__ = ["benchmark"]

_log = logging.getLogger(__name__)


def benchmark(words: Sequence[str]) -> int:
    """Run a benchmark, or what is left of it, and write its report.

    Args:
        words: What follows `numclip benchmark`.

    Returns:
        0 if every run has finished, 1 if one has failed or is missing.

    Raises:
        ConfigError: If the configuration is wrong.
        DataError: If none of the runs has a record, or one can't be read.
    """
    chosen, output, report_only = _parse(words)
    here = [name for name, entry in chosen.datasets.items() if entry.is_here]
    for name in chosen.datasets.keys() - here:
        _log.warning("%s is left out: %s is not here", name, chosen.datasets[name].needs)
    published = {name: chosen.datasets[name].published for name in here}
    request = Request(
        title=chosen.title,
        command=shlex.join(["numclip", "benchmark", *words]),
        metrics=chosen.metrics,
        compare_to=chosen.compare_to,
        published={name: source for name, source in published.items() if source},
    )
    request.check(list(chosen.methods), here)
    if chosen.page:
        check_page(Path(chosen.page))
    runs = plan(chosen)
    if not report_only:
        _run_all(chosen, runs)
    records = [record for run in runs if (record := find_record(run))]
    report = write_report([run.entry for run in runs], records, output, request)
    if chosen.page:
        update_page(Path(chosen.page), report)
    finished = sum(record["status"] == "finished" for record in records)
    _log.info("%d of %d runs have finished; the report is %s", finished, len(runs), report)
    return int(finished < len(runs))


def _parse(words: Sequence[str]) -> tuple[Benchmark, Path, bool]:
    """Return the benchmark, the folder of its report, and whether nothing is to be run."""
    parser = ArgumentParser(prog="numclip benchmark", description="Run every method on every dataset and compare them.")
    parser.add_argument("--config", action="config", help="A file such as configs/benchmarks/smoke.yaml.")
    parser.add_class_arguments(Benchmark)
    parser.add_argument("--report_only", type=bool, default=False, help="Run nothing; report what there is.")
    config = parser.parse_args(list(words))
    files, report_only = config.pop("config") or [], config.pop("report_only")
    chosen = Benchmark(**parser.instantiate_classes(config).as_dict())
    name = Path(str(files[0])).stem if files else "benchmark"
    return chosen, Path(chosen.output or Path(chosen.root, "reports", name)), report_only


def _run_all(chosen: Benchmark, runs: Sequence[PlannedRun]) -> None:
    done = sum(map(has_finished, runs))
    with tqdm(total=len(runs), initial=done, unit="run", smoothing=0) as bar:
        for run, record in execute(runs, processes=chosen.processes, keep_checkpoints=chosen.keep_checkpoints):
            bar.update()
            where = f"{run.dataset}, {run.method}, fold {run.fold}, {shots_name(run.shots)}, seed {run.seed}"
            bar.write(f"{where}: {_outcome(record, chosen.metrics)}")


def _outcome(record: dict[str, Any] | None, metrics: Sequence[str]) -> str:
    if record is None:
        return "left to another process that is at it"
    if record["status"] != "finished":
        return f"FAILED: {record['error']} ({record['folder']})"
    found = [f"{name} {record['metrics'][name]:.3f}" for name in metrics if name in record["metrics"]]
    return ", ".join([*found, f"{record['seconds']:.0f} s"])

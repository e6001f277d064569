"""`numclip benchmark`: plan, run what is missing, report."""

import logging
from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser
from tqdm import tqdm

from numclip_lightning.benchmark.execute import execute, read_record
from numclip_lightning.benchmark.plan import Benchmark, Run, plan

__all__ = ["benchmark"]

_log = logging.getLogger(__name__)


def benchmark(words: Sequence[str]) -> int:
    """Run a benchmark, or what is left of it.

    Args:
        words: What follows `numclip benchmark`.

    Returns:
        0 if every run has finished, 1 if one has failed or is being run by another process.

    Raises:
        ConfigError: If the configuration is wrong.
    """
    parser = ArgumentParser(prog="numclip benchmark", description="Run every method on every dataset and compare them.")
    parser.add_argument("--config", action="config", help="A file such as configs/benchmarks/smoke.yaml.")
    parser.add_class_arguments(Benchmark)
    parser.add_argument("--report_only", type=bool, default=False, help="Run nothing, report what there is.")
    config = parser.parse_args(list(words))
    report_only = config.pop("report_only")
    config.pop("config")
    chosen = Benchmark(**parser.instantiate_classes(config).as_dict())
    runs = plan(chosen)
    for absent in (name for name, entry in chosen.datasets.items() if not entry.is_here):
        _log.warning("%s is left out: %s is not here", absent, chosen.datasets[absent].needs)
    if not report_only:
        _run_all(chosen, runs)
    records = [record for run in runs if (record := read_record(run))]
    _log.info("%d of %d runs have finished", sum(r["status"] == "finished" for r in records), len(runs))
    return int(len(records) < len(runs) or any(record["status"] != "finished" for record in records))


def _run_all(chosen: Benchmark, runs: Sequence[Run]) -> None:
    done = sum((read_record(run) or {}).get("status") == "finished" for run in runs)
    with tqdm(total=len(runs), initial=done, unit="run", smoothing=0) as bar:
        for run, record in execute(runs, processes=chosen.processes, keep_checkpoints=chosen.keep_checkpoints):
            bar.update()
            bar.write(f"{run.dataset}, {run.method}, {_setting(run)}: {_outcome(record, chosen.metrics)}")


def _setting(run: Run) -> str:
    return f"fold {run.fold}, {run.shots or 'all'} shots, seed {run.seed}"


def _outcome(record: dict[str, Any] | None, metrics: Sequence[str]) -> str:
    if record is None:
        return "left to another process that is running it"
    if record["status"] != "finished":
        return f"FAILED: {record['error']} ({record['folder']})"
    found = [f"{name} {record['metrics'][name]:.3f}" for name in metrics if name in record["metrics"]]
    return ", ".join([*found, f"{record['seconds']:.0f} s"])

"""The words of `numclip benchmark`: parsed, and as a report repeats them."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from numclip_lightning.runs.benchmark import Benchmark
from numclip_lightning.runs.benchmark_mistakes import refuse_benchmark_mistakes
from numclip_lightning.runs.terminal import unwrap_errors

__all__ = ["parse", "repeatable"]


def parse(words: Sequence[str]) -> tuple[Benchmark, Path, bool]:
    """Parse the words of a benchmark.

    Args:
        words: The words after `numclip benchmark`.

    Returns:
        The benchmark, the folder of its report, and whether it is only reported.

    Raises:
        ConfigError: If the configuration is wrong.
    """
    parser = ArgumentParser(
        prog="numclip benchmark",
        # In place of the names of all flags, which would hide the error that follows.
        usage="numclip benchmark --config FILE [--KEY=VALUE]...",
        description="Run every method on every dataset and compare them; a stopped benchmark goes on.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="A file such as configs/benchmarks/smoke.yaml.")
    parser.add_class_arguments(Benchmark)
    parser.add_argument("--report_only", type=bool, default=False, help="Run nothing; report the runs that exist.")
    refuse_benchmark_mistakes(words)
    config = parser.parse_args(list(words))
    files, report_only = config.pop("config") or [], config.pop("report_only")
    with unwrap_errors():
        chosen = Benchmark(**parser.instantiate_classes(config).as_dict())
    name = Path(str(files[0])).stem if files else "benchmark"
    return chosen, Path(chosen.output or Path(chosen.root, "reports", name)), report_only


def repeatable(words: Sequence[str]) -> list[str]:
    """Drop `--report_only`, `--page` and `--archive` from the command that the report prints for its readers.

    Args:
        words: The words after `numclip benchmark`.
    """
    kept, rest = list[str](), iter(words)
    for word in rest:
        name, sign, _ = word.partition("=")
        if name not in ("--report_only", "--page", "--archive"):
            kept.append(word)
        elif not sign:
            # Its value is the next word.
            next(rest, None)
    return kept

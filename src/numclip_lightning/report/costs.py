"""What the runs cost: wall time, peak memory, and the parameters that they train or solve for."""

import math
import statistics
from collections.abc import Iterable

import pandas as pd

from numclip_lightning.report.results import COSTS, Results, shots_name
from numclip_lightning.report.tables import MARKDOWN, markdown_grid

__all__ = ["cost_frame", "cost_table"]


def cost_frame(results: Results, dataset: str) -> pd.DataFrame:
    """Return the costs of each method and number of shots, means over the finished runs.

    Returns:
        The columns method, shots (0 is all images), protocol, n, seconds, peak_memory_mib and trained_parameters.
    """
    rows = [
        (method, shots, results.protocol(dataset, method, shots),
         len([run for run in results.cell(dataset, method, shots) if run.status == "finished"]),
         *(_mean(results.numbers(dataset, method, shots, cost).values()) for cost in COSTS))
        for method in results.methods(dataset)
        for shots in results.columns(dataset)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["method", "shots", "protocol", "n", *COSTS])


def cost_table(results: Results, dataset: str) -> str:
    """Return the costs in Markdown: wall time for each number of shots, memory and parameters over all of them."""
    frame, columns = cost_frame(results, dataset), results.columns(dataset)
    times = [f"Seconds, {shots_name(shots)}" for shots in columns]
    rows = [["Method", *times, "Peak memory (MiB)", "Trained or solved parameters"]]
    for method, costs in frame.groupby("method", sort=False):
        seconds = ["" if math.isnan(number) else f"{number:,.1f}" for number in costs["seconds"]]
        memory, parameters = costs["peak_memory_mib"].dropna(), costs["trained_parameters"].dropna()
        rows.append(
            [
                MARKDOWN.escape(str(method)),
                *seconds,
                f"{memory.max():,.0f}" if len(memory) else "",
                # Some methods train more where they have seen more images.
                " to ".join(dict.fromkeys(f"{number:,.0f}" for number in (parameters.min(), parameters.max())))
                if len(parameters)
                else "",
            ]
        )
    return f"{markdown_grid(rows)}\n\n{' '.join(_notes(results, dataset))}\n"


def _notes(results: Results, dataset: str) -> list[str]:
    """Return the sentences below the table."""
    found = [
        "Means over the finished runs of a method at a number of shots; of the memory, the largest of these.",
        "Solved are parameters that are set without a step: a closed form, or a cache of training features, which has "
        "an entry for each image.",
        "A method that learns nothing was run once for all numbers of shots.",
        "Memory on a GPU is what the run took of it; on a CPU it is the whole process, with the libraries.",
    ]
    finished = [run for run in results.of(dataset) if run.status == "finished"]
    if devices := sorted({f"{run.device}, {run.processes} at once" for run in finished if run.device}):
        others = "" if all(run.device for run in finished) else "; others do not say"
        found.append(f"Made on {'; '.join(devices)}{others}.")
    return found


def _mean(numbers: Iterable[float]) -> float:
    numbers = list(numbers)
    return statistics.fmean(numbers) if numbers else math.nan

"""What methods cost, as a Markdown table: seconds, memory and parameters."""

import pandas as pd

from numclip_lightning.report.frame import KEY, shots_name, shots_of
from numclip_lightning.report.statistics import costs
from numclip_lightning.report.tables import escape_markdown, markdown_grid

__all__ = ["cost_table"]


def cost_table(rows: pd.DataFrame) -> str:
    """Write the costs on a dataset in Markdown: seconds for each number of shots, memory and parameters over all.

    Args:
        rows: The rows of one dataset, see `results_frame`.
    """
    groups = costs(rows).groupby("method", observed=False, sort=False)
    seconds = costs(rows).pivot(index="method", columns="shots", values="seconds")[shots_of(rows)]
    shown = seconds.map(lambda number: "" if pd.isna(number) else f"{number:,.1f}")
    shown.columns = [f"Seconds, {shots_name(number)}" for number in shown.columns]
    memory, least, most = (
        groups["peak_memory_mib"].max(), groups["trained_parameters"].min(), groups["trained_parameters"].max()
    )  # fmt: skip
    shown["Peak memory (MiB)"] = memory.map(lambda number: "" if pd.isna(number) else f"{number:,.0f}")
    # Some methods train more if they have seen more images.
    shown["Trained or solved parameters"] = [
        "" if pd.isna(low) else " to ".join(dict.fromkeys((f"{low:,.0f}", f"{high:,.0f}")))
        for low, high in zip(least, most, strict=True)
    ]
    shown = shown.rename(index=escape_markdown).rename_axis(index="Method", columns=None).reset_index()
    return f"{markdown_grid(shown)}\n\n{_cost_notes(rows)}\n"


def _cost_notes(rows: pd.DataFrame) -> str:
    found = (
        "Means over the finished runs of a method at a number of shots; of the memory, the largest of these. "
        "Solved are parameters that are set without a step: a closed form, or a cache of training features, which has "
        "an entry for each image. A method that learns nothing was run once for all numbers of shots. "
        "Memory on a GPU is that of the run; on a CPU it is that of the whole process, with the libraries."
    )
    runs = rows[rows["status"] == "finished"].drop_duplicates(KEY)
    known = runs[runs["device"].notna()]
    if known.empty:
        return found
    devices = sorted({f"{run.device}, {run.processes} at once" for run in known.itertuples()})
    others = "" if len(known) == len(runs) else "; unknown for the others"
    return f"{found} Made on {'; '.join(devices)}{others}."

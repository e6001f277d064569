"""What guessing costs, as rows of a table: constant answers that each run knows from its training part alone."""

import pandas as pd

from numclip_lightning.report.frame import at_every_shots

__all__ = ["GUESSES", "guess_rows"]

# The name in a table, and which metric of a guess a run records: `test_guess_mae` beside `test_mae`.
GUESSES = {"mae": "Guessing (median)", "acc": "Guessing (commonest level)"}


def guess_rows(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return what guessing costs on a dataset, cells as those of `summarise` without a rank.

    Runs on the same part have the same guess, so that any of them gives it. Methods that learn nothing give theirs only
    where no other has one: they are run once, and the training part changes with the number of shots.

    Args:
        rows: The rows of one dataset, see `results_frame`.
        metric: The metric of the table.

    Returns:
        The columns method, shots, mean, std, n, planned, rank and selected_on_test: a row for each number of shots at
        which a run has the cost of guessing; empty for other metrics than the mean absolute error and the accuracy.
    """
    split, _, key = metric.partition("_")
    found = rows[(rows["metric"] == f"{split}_guess_{key}") & rows["value"].notna()]
    columns = ["method", "shots", "mean", "std", "n", "planned", "rank", "selected_on_test"]
    if key not in GUESSES or found.empty:
        return pd.DataFrame(columns=columns)
    if found["trains"].any():
        found = found[found["trains"]]
    else:
        # Repeated at the numbers of shots of the whole table.
        spread = at_every_shots(rows).astype({"shots": "int64", "method": "object"})
        found = spread[(spread["metric"] == f"{split}_guess_{key}") & spread["value"].notna()]
    parts = found.groupby(["shots", "fold", "seed"])["value"].mean().reset_index()
    cells = parts.groupby("shots")["value"].agg(["mean", "std", "count"]).reset_index()
    return pd.DataFrame(
        {
            "method": GUESSES[key],
            "shots": cells["shots"].astype("int64"),
            "mean": cells["mean"],
            "std": cells["std"],
            "n": cells["count"].astype("int64"),
            "planned": cells["count"].astype("int64"),
            "rank": pd.array([pd.NA] * len(cells), dtype="Int64"),
            "selected_on_test": False,
        }
    )[columns]

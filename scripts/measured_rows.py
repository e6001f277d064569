"""Write the measured rows of docs/howto/method.md from the results of benchmarks.

    python scripts/measured_rows.py runs/benchmarks/reports/real/results.csv=benchmarks_real.md [...]

Each argument is the `results.csv` of a report, and the page in docs/ that has this report. A row is a data set at a
number of shots: the three lowest errors, that of NumCLIP, and what guessing costs, each the mean over folds and seeds
with its deviation. They stand between `<!-- measured -->` and `<!-- end of measured -->`.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from numclip_lightning.report.frame import shots_name

PAGE = Path(__file__).resolve().parents[1] / "docs" / "howto" / "method.md"
_METRIC, _GUESS = "test_mae", "test_guess_mae"
_HEAD = "| data | lowest test MAE, then the next two | NumCLIP | guessing | runs |\n| --- | --- | ---: | ---: | --- |"


def rows(results: pd.DataFrame, page: str) -> Iterator[str]:
    """Yield the rows of the data sets of a report.

    Args:
        results: A `results.csv` as `numclip benchmark` writes it.
        page: The page with the report, from docs/ on.
    """
    results = results[results["status"] == "finished"]
    learned = results[results["trains"]]
    for dataset, of_dataset in results.groupby("dataset", sort=False):
        at = learned.loc[learned["dataset"] == dataset, "shots"].unique().tolist() or [0]
        for shots in sorted(at, key=lambda number: number or sys.maxsize):
            # What learns nothing is compared at any number of shots.
            found = of_dataset[(of_dataset["shots"] == shots) | ~of_dataset["trains"]]
            errors = found[found["metric"] == _METRIC].groupby("method", sort=False)["value"]
            means = errors.mean().dropna().sort_values(kind="stable")
            if means.empty:
                continue
            guesses = found[(found["metric"] == _GUESS) & (found["trains"] if found["trains"].any() else True)]
            # The same for all methods of a seed, but for rounding.
            guess = guesses.groupby("seed")["value"].median().dropna()
            best = "; ".join(f"{name} {_number(errors.get_group(name))}" for name in means.index[:3])
            numclip = _number(errors.get_group("NumCLIP")) if "NumCLIP" in means else ""
            runs = int(errors.count()[means.index[:3]].min())
            link = f"[{runs} run{'s' if runs > 1 else ''}](../{page})"
            cells = (f"{dataset}, {shots_name(int(shots))}", best, numclip, _number(guess), link)
            yield f"| {' | '.join(cells)} |"


def _number(values: "pd.Series[float]") -> str:
    """Return the mean of runs with its sample deviation, where there are several."""
    if values.empty:
        return ""
    spread = values.std()
    return f"{values.mean():.2f}" + (f" ± {spread:.2f}" if len(values) > 1 and spread > 0 else "")


def put(text: str, table: str) -> str:
    """Return a page with a table between the marks.

    Args:
        text: The page.
        table: The table.

    Raises:
        ValueError: If the page does not have the marks once.
    """
    marks = r"(<!-- measured -->\n).*?(<!-- end of measured -->)"
    new, times = re.subn(marks, lambda found: f"{found[1]}\n{table}\n\n{found[2]}", text, flags=re.DOTALL)
    if times != 1:
        raise ValueError(
            f"the page needs the lines <!-- measured --> and <!-- end of measured --> once, not {times} times"
        )
    return new


def main() -> None:
    """Read the reports that are named, and write the page."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    found: list[str] = []
    for word in sys.argv[1:]:
        file, _, page = word.partition("=")
        if not (PAGE.parents[1] / page).is_file():
            sys.exit(f"{word}: docs/{page} is not there; write RESULTS.csv=PAGE.md, a page of docs/.")
        found += rows(pd.read_csv(file), page)
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), "\n".join([_HEAD, *found])), encoding="utf-8")
    print(f"{PAGE}: {len(found)} rows")


if __name__ == "__main__":
    main()

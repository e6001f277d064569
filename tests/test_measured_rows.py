"""The measured rows of the page that helps to choose a method."""

import pandas as pd
import pytest

import measured_rows

COLUMNS = [
    "dataset",
    "method",
    "fold",
    "shots",
    "seed",
    "trains",
    "select_on",
    "status",
    "error",
    "metric",
    "value",
    "commit",
]


def row(
    method: str, seed: int, value: float, metric: str = "test_mae", shots: int = 0, **given: object
) -> dict[str, object]:
    one = dict.fromkeys(COLUMNS) | {"dataset": "hands", "method": method, "fold": 0, "shots": shots, "seed": seed}
    return one | {"trains": True, "status": "finished", "metric": metric, "value": value} | given


def test_a_row_has_the_lowest_errors_over_the_seeds_and_what_guessing_costs() -> None:
    results = pd.DataFrame([
        *(row("NumCLIP", seed, value) for seed, value in enumerate((1.0, 1.2, 1.4))),
        *(row("GDA", seed, value) for seed, value in enumerate((0.5, 0.5, 0.8))),
        *(row("CORN", seed, 2.0) for seed in range(3)),
        *(row("L1", seed, 3.0) for seed in range(3)),
        *(row("GDA", seed, 1.5, "test_guess_mae") for seed in range(3)),
        # Neither failed runs nor other metrics count.
        row("L1", 3, 0.0, status="failed"),
        row("GDA", 0, 0.0, "test_acc"),
    ])  # fmt: skip
    cells = ("GDA 0.60 ± 0.17; NumCLIP 1.20 ± 0.20; CORN 2.00", "1.20 ± 0.20", "1.50", "[3 runs](../benchmarks.md)")
    assert list(measured_rows.rows(results, "benchmarks.md")) == [f"| hands, all images | {' | '.join(cells)} |"]


def test_what_learns_nothing_stands_at_every_number_of_shots() -> None:
    results = pd.DataFrame([
        row("NumCLIP", 0, 2.0, shots=4),
        row("NumCLIP", 0, 1.0),
        row("zero-shot", 0, 1.5, trains=False),
    ])  # fmt: skip
    found = list(measured_rows.rows(results, "benchmarks.md"))
    assert found == [
        "| hands, 4 shots | zero-shot 1.50; NumCLIP 2.00 | 2.00 |  | [1 run](../benchmarks.md) |",
        "| hands, all images | NumCLIP 1.00; zero-shot 1.50 | 1.00 |  | [1 run](../benchmarks.md) |",
    ]


def test_the_words_around_the_marks_are_kept() -> None:
    page = "a\n<!-- measured -->\nold\n<!-- end of measured -->\nb\n"
    assert measured_rows.put(page, "new") == "a\n<!-- measured -->\n\nnew\n\n<!-- end of measured -->\nb\n"
    with pytest.raises(ValueError, match="once, not 0 times"):
        measured_rows.put("a\n", "new")
    # The page itself has them.
    measured_rows.put(measured_rows.PAGE.read_text(encoding="utf-8"), "new")

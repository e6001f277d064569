"""Statistics over test images: pairs by image, pooled where lists differ by seed, against scipy and numpy."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, permutation_test

from numclip_lightning.report.frame import results_frame
from numclip_lightning.report.images import compare_images, image_intervals, image_numbers
from support.benchmark_runs import Entry, make_plan, write_run

IMAGES = 60
TARGETS = np.arange(IMAGES) % 7.0


def noise(seed: int, *names: str) -> np.ndarray:
    return np.random.default_rng([seed, *(ord(letter) for name in names for letter in name)]).normal(size=IMAGES)


def value(method: str, seed: int) -> np.ndarray:
    """B is a little worse than A on nearly every image, and what is hard for one is hard for both."""
    offset = {"A": 0.0, "B": 0.3, "C": 0.0, "Z": 4.0}[method]
    return np.asarray(TARGETS + 2 + np.abs(noise(0)) + offset + 0.1 * noise(seed, method))


def targets_of(run: Entry, *, shared: bool) -> np.ndarray:
    return TARGETS if shared else np.roll(TARGETS, run["seed"])


def rows_of(folder: Path, *, shared: bool = True, **plan: object) -> pd.DataFrame:
    planned = make_plan(["A", "B", "C", "Z"], shots=[0], learn_nothing=["Z"], **plan)  # type: ignore[arg-type]
    records = []
    for run in planned:
        shift = targets_of(run, shared=shared) - TARGETS
        predictions = list(zip(TARGETS + shift, value(run["method"], run["seed"]) + shift, strict=True))
        records.append(write_run(folder, run, {"test_mae": 1.0}, predictions))
    return results_frame(planned, records, ["test_mae"])


def mean_errors(method: str, seeds: tuple[int, ...] = (0, 1, 2)) -> np.ndarray:
    return np.asarray(np.mean([np.abs(value(method, seed) - TARGETS) for seed in seeds], axis=0))


def test_errors_of_the_same_images_are_averaged_over_seeds(tmp_path: Path) -> None:
    rows = rows_of(tmp_path)
    tests = compare_images(rows, "test_mae", "A", image_numbers(rows, "test_mae")).set_index("method")
    assert tests["n"].tolist() == [IMAGES] * 3
    for method in ("B", "C", "Z"):
        assert tests.loc[method, "difference"] == pytest.approx((mean_errors(method) - mean_errors("A")).mean())
    assert tests["verdict"].to_dict() == {"B": "worse", "C": "no difference shown", "Z": "worse"}


def test_the_interval_and_p_are_those_of_scipy(tmp_path: Path) -> None:
    rows = rows_of(tmp_path)
    tests = compare_images(rows, "test_mae", "A", image_numbers(rows, "test_mae")).set_index("method")
    difference = mean_errors("C") - mean_errors("A")
    expected = bootstrap((difference,), np.mean, method="percentile", n_resamples=9999, rng=1).confidence_interval
    found = tests.loc["C"]
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high), abs=0.05 * difference.std())
    pair = (mean_errors("C"), mean_errors("A"))
    flips = permutation_test(pair, lambda a, b: np.mean(a - b), permutation_type="samples", rng=1)
    assert found["p"] == pytest.approx(flips.pvalue, abs=0.02)


def test_images_of_all_seeds_are_pooled_where_the_lists_differ(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, shared=False)
    tests = compare_images(rows, "test_mae", "A", image_numbers(rows, "test_mae")).set_index("method")
    assert tests["n"].tolist() == [3 * IMAGES] * 3
    assert tests.loc["B", "difference"] == pytest.approx((mean_errors("B") - mean_errors("A")).mean())
    assert tests.loc["B", "verdict"] == "worse"


def test_images_of_folds_are_other_images(tmp_path: Path) -> None:
    planned = make_plan(["A", "B"], shots=[0], seeds=[0], folds=[0, 1])
    records = [write_run(tmp_path, run, {}, [(run["fold"], run["fold"] + 1.0), (5, 6)]) for run in planned]
    for record in records:
        file = record["folder"] / "test_predictions.csv"
        file.write_text(file.read_text(encoding="utf-8").replace(".png", f"-{record['fold']}.png"), encoding="utf-8")
    rows = results_frame(planned, records, ["test_mae"])
    assert compare_images(rows, "test_mae", "A", image_numbers(rows, "test_mae"))["n"].tolist() == [4]


def test_intervals_are_of_the_mean_over_images(tmp_path: Path) -> None:
    rows = rows_of(tmp_path)
    found = image_intervals(rows, image_numbers(rows, "test_mae")).set_index("method")
    errors = mean_errors("B")
    expected = bootstrap((errors,), np.mean, method="percentile", n_resamples=9999, rng=1).confidence_interval
    assert found.loc["B", "mean"] == pytest.approx(errors.mean())
    assert tuple(found.loc["B", ["low", "high"]]) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_groups_are_drawn_whole(tmp_path: Path) -> None:
    rows = rows_of(tmp_path)
    alone = image_intervals(rows, image_numbers(rows, "test_mae")).set_index("method")
    order = np.argsort(mean_errors("A"))
    person = np.empty(IMAGES, dtype=int)
    person[order] = np.arange(IMAGES) // 10
    for folder in rows["folder"].unique():
        frame = pd.read_csv(folder / "test_predictions.csv")
        frame.assign(group=[f"person {i}" for i in person]).to_csv(folder / "test_predictions.csv", index=False)
    numbers = image_numbers(rows, "test_mae")
    grouped = image_intervals(rows, numbers).set_index("method")
    width = grouped["high"] - grouped["low"]
    # Six people with images that are equally hard tell far less than 60 images.
    assert (width > 1.5 * (alone["high"] - alone["low"])).all()
    # Six groups can't give a p below 2 / 2**6.
    assert compare_images(rows, "test_mae", "A", numbers)["p"].min() == pytest.approx(2 / 2**6)

    # Images without a group are not one group.
    for folder in rows["folder"].unique():
        frame = pd.read_csv(folder / "test_predictions.csv")
        frame.assign(group="").to_csv(folder / "test_predictions.csv", index=False)
    pd.testing.assert_frame_equal(image_intervals(rows, image_numbers(rows, "test_mae")), alone.reset_index())


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("test_mae", 0.75), ("test_cs1", 0.75), ("test_cs0_5", 0.25), ("test_acc", 0.5), ("test_acc_within_1", 0.75)],
)
def test_the_number_of_an_image_averages_to_the_metric(tmp_path: Path, metric: str, expected: float) -> None:
    planned = make_plan(["A"], shots=[0], seeds=[0])
    record = write_run(tmp_path, planned[0], {})
    pd.DataFrame(
        {
            "path": list("abcd"),
            "target": [0.0, 1, 2, 1],
            "true_phrase": ["none", "None", "two", "None"],
            "value": [0.0, 2, 3.2, 1.8],
            "p(none)": [0.9, 0.1, 0.5, 0.1],
            "p(None)": [0.1, 0.8, 0.2, 0.2],
            "p(two)": [0.0, 0.1, 0.3, 0.7],
        }
    ).to_csv(record["folder"] / "test_predictions.csv", index=False)
    numbers = image_numbers(results_frame(planned, [record], [metric]), metric)
    assert numbers["number"].mean() == pytest.approx(expected)


def test_a_metric_that_is_no_mean_has_no_numbers(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, seeds=[0])
    assert image_numbers(rows, "test_qwk").empty
    assert image_intervals(rows, image_numbers(rows, "test_qwk")).empty


def test_runs_selected_on_the_test_set_are_not_paired_with_others(tmp_path: Path) -> None:
    planned = make_plan(["A", "B"], shots=[0], seeds=[0])
    selected = {"A": "val", "B": "test"}
    records = [write_run(tmp_path, run, {}, select_on=selected[run["method"]]) for run in planned]
    rows = results_frame(planned, records, ["test_mae"])
    (test,) = compare_images(rows, "test_mae", "A", image_numbers(rows, "test_mae")).to_dict("records")
    assert (test["n"], test["select_on"], test["verdict"]) == (0, "test", "fewer than 2 pairs: no test")

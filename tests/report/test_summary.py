"""The numbers of a run against scikit-learn, SciPy and the metrics of the package, and their intervals."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score, mean_absolute_error, root_mean_squared_error

from numclip_lightning.report.files import metric_of
from numclip_lightning.report.intervals import bootstrap_mean
from numclip_lightning.report.summary import guessed, measure_run, tolerance_of
from support.predicted import predictions, reported


def test_numbers_are_those_of_other_libraries_and_of_our_metrics(tmp_path: Path) -> None:
    frame = predictions()
    found = {measured.key: measured.value for measured in measure_run(reported(frame, tmp_path), resamples=9)}
    assert found["mae"] == pytest.approx(mean_absolute_error(frame["target"], frame["value"]))
    assert found["rmse"] == pytest.approx(root_mean_squared_error(frame["target"], frame["value"]))
    names = ["child", "young adult", "older adult"]
    kappa = cohen_kappa_score(frame["true_phrase"], frame["most_probable"], labels=names, weights="quadratic")
    assert found["qwk"] == pytest.approx(kappa)
    assert set(found) == {
        "mae", "rmse", "bias", "cs5", "acc", "acc_within_1", "qwk", "plcc", "spearman", "kendall", "rps", "nll",
        "brier",
    }  # fmt: skip
    for key, value in found.items():
        assert value == pytest.approx(metric_of(f"test_{key}", frame), rel=1e-5, abs=1e-6), key


def test_intervals_draw_patients_and_hold_the_number(tmp_path: Path) -> None:
    frame = predictions()
    found = {measured.key: measured for measured in measure_run(reported(frame, tmp_path))}
    expected = bootstrap_mean((frame["value"] - frame["target"]).abs(), groups=frame["group"].tolist(), resamples=1999)
    assert (found["mae"].low, found["mae"].high) == pytest.approx((expected.low, expected.high))
    for key in ("rmse", "bias", "cs5", "acc", "qwk", "plcc", "spearman", "kendall", "rps", "nll", "brier"):
        assert found[key].low < found[key].value < found[key].high, key


def test_a_kappa_of_each_draw_is_that_of_its_images(tmp_path: Path) -> None:
    frame = predictions(60).drop(columns="group")
    found = {measured.key: measured for measured in measure_run(reported(frame, tmp_path), resamples=200)}
    slow = []
    for images in np.random.default_rng(0).integers(0, 60, (200, 60)):
        drawn = frame.iloc[images]
        names = ["child", "young adult", "older adult"]
        slow.append(cohen_kappa_score(drawn["true_phrase"], drawn["most_probable"], labels=names, weights="quadratic"))
    assert (found["qwk"].low, found["qwk"].high) == pytest.approx(tuple(np.percentile(slow, [2.5, 97.5])))


def test_a_file_with_two_columns_has_the_numbers_of_values_alone(tmp_path: Path) -> None:
    run = reported(pd.DataFrame({"value": [1.0, 2.5, 2.0], "target": [1.0, 2.0, 4.0]}), tmp_path)
    keys = {measured.key for measured in measure_run(run)}
    assert keys == {"mae", "rmse", "bias", "cs1", "plcc", "spearman", "kendall"}
    assert tolerance_of(run) == 1
    guess = guessed(run)
    assert guess.costs == {"mae": 1.0}
    assert "these very images" in guess.source


def test_what_a_run_recorded_of_guessing_comes_first(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed_everything: 1\n")
    (tmp_path / "metrics.json").write_text('{"test_guess_mae": 20.5, "test_guess_acc": 0.25}')
    guess = guessed(reported(predictions(), tmp_path, "test_predictions.csv"))
    assert guess.costs == {"mae": 20.5, "acc": 0.25}
    assert "training targets" in guess.source


def test_a_single_image_has_numbers_and_no_intervals(tmp_path: Path) -> None:
    found = {measured.key: measured for measured in measure_run(reported(predictions(1), tmp_path))}
    assert np.isfinite(found["mae"].value)
    assert np.isnan(found["mae"].low)

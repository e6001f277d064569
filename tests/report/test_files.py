"""Metrics from prediction files equal those of scikit-learn and scipy, and never replace what a run recorded."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import brier_score_loss, cohen_kappa_score, log_loss, mean_absolute_error

from numclip_lightning.errors import DataError
from numclip_lightning.report.files import metric_of, with_metrics_of_files
from support.benchmark_runs import make_plan, write_run

PHRASES = ["none", "some", "many"]


def predictions() -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """A file of 50 images; its true levels (none of the last but one image) and probabilities."""
    random = np.random.default_rng(0)
    level = random.choice([0, 2], 50)
    probabilities = random.dirichlet([1, 1, 1], 50)
    target = level * 10.0 + random.integers(0, 5, 50)
    frame = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(50)],
            "target": target,
            "true_phrase": [PHRASES[k] for k in level],
            "value": target + random.normal(size=50),
            "phrase": "some",
            **{f"p({phrase})": probabilities[:, k] for k, phrase in enumerate(PHRASES)},
        }
    )
    return frame, level, probabilities


def test_they_are_those_of_the_references() -> None:
    frame, level, probabilities = predictions()
    target, value = frame["target"], frame["value"]
    below = (level[:, None] <= np.arange(3)).astype(float)
    errors = [mean_absolute_error(target[level == k], value[level == k]) for k in (0, 2)]
    expected = {
        "test_rmse": np.sqrt(((value - target) ** 2).mean()),
        "test_cs1": ((value - target).abs() <= 1).mean(),
        "test_kendall": kendalltau(value, target).statistic,
        "test_acc": (probabilities.argmax(1) == level).mean(),
        "test_qwk": cohen_kappa_score(level, probabilities.argmax(1), weights="quadratic", labels=[0, 1, 2]),
        "test_amae": np.mean(errors),
        "test_mmae": np.max(errors),
        "test_rps": ((probabilities.cumsum(1) - below) ** 2).sum(1).mean(),
        "test_nll": log_loss(level, probabilities, labels=[0, 1, 2]),
        "test_brier": brier_score_loss(level, probabilities, labels=[0, 1, 2], scale_by_half=False),
    }
    assert {metric: metric_of(metric, frame) for metric in expected} == pytest.approx(expected, abs=1e-5)


def test_the_continuous_score_takes_the_scale_of_the_configuration(tmp_path: Path) -> None:
    frame, _, probabilities = predictions()
    assert metric_of("test_crps", frame, tmp_path) is None
    levels = "[{phrase: none, start: 0}, {phrase: some, start: 8}, {phrase: many, start: 16}]"
    (tmp_path / "config.yaml").write_text(
        f"model: {{init_args: {{scale: {{minimum: 0, maximum: 24, step: 1, levels: {levels}}}}}}}", encoding="utf-8"
    )
    centers, target = np.array([3.5, 11.5, 20.0]), frame["target"].to_numpy()
    far = (probabilities * np.abs(centers - target[:, None])).sum(1)
    spread = np.einsum("bi,bj,ij->b", probabilities, probabilities, np.abs(centers[:, None] - centers))
    assert metric_of("test_crps", frame, tmp_path) == pytest.approx((far - spread / 2).mean(), abs=1e-4)


def test_what_was_recorded_stays(tmp_path: Path) -> None:
    (run,) = make_plan(["A"], shots=[0], seeds=[0])
    record = write_run(tmp_path, run, {"test_mae": 7.0}, [(1, 2), (2, 4)])
    (found,) = with_metrics_of_files([record], ["test_mae", "test_rmse", "test_epsilon", "test_rps", "val_rmse"])
    assert found["metrics"] == pytest.approx({"test_mae": 7.0, "test_rmse": 2.5**0.5})


def test_predictions_that_are_not_needed_are_not_read(tmp_path: Path) -> None:
    (run,) = make_plan(["A"], shots=[0], seeds=[0])
    record = write_run(tmp_path, run, {"test_mae": 7.0})
    (record["folder"] / "test_predictions.csv").unlink()
    assert with_metrics_of_files([record], ["test_mae"]) == [record]
    with pytest.raises(DataError, match="can't be read"):
        with_metrics_of_files([record], ["test_rmse"])

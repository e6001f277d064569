"""A method over values keeps quantiles, and its intervals, those of its predictor and of its exports are of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from numclip_lightning import OrdinalPredictor
from numclip_lightning.calibration import conformal_threshold, read_calibration
from numclip_lightning.images.loading import load_rgb
from numclip_lightning.images.transforms import build_transform
from numclip_lightning.methods import SORD
from support.command import Numclip, rows_of


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    numclip = Numclip(data, tmp_path_factory.mktemp("trained"))
    words = [word for word in numclip.flags if not word.startswith("--model=")]
    asked = ["--calibration.intervals=quantiles", "--calibration.coverage=0.7", "--test_after_fit=true"]
    return numclip.plain("fit", "--model=SORD", *words, *asked)


def test_rows_have_the_quantiles_of_the_whole_distribution(trained: Path, data: Path) -> None:
    method = SORD.load_from_checkpoint(trained / "checkpoints" / "best.ckpt").eval()
    prepare = build_transform(32, "clip", train=False)
    for row in rows_of(trained / "test_predictions.csv")[:5]:
        with torch.inference_mode():
            shares = method(prepare(load_rgb(data / row["path"]))[None]).logits[0].double().softmax(0).numpy()
        # 0.15 and 0.85 are the ends of the coverage that the run asks for.
        for share in (0.15, 0.5, 0.85):
            expected = np.interp(share, np.concatenate([[0], np.cumsum(shares)]), np.arange(11) + 9.5)
            assert float(row[f"q({share:g})"]) == pytest.approx(expected, abs=2e-3)


def test_the_threshold_and_the_intervals_are_of_them(trained: Path) -> None:
    found = read_calibration(trained)
    assert found is not None
    assert found.shares == (0.15, 0.85)
    rows = rows_of(trained / "validation_predictions.csv")
    low, high, target = (np.array([float(row[name]) for row in rows]) for name in ("q(0.15)", "q(0.85)", "target"))
    threshold = conformal_threshold(np.maximum(low - target, target - high), 0.7).value
    assert found.interval.overall.value == pytest.approx(threshold, abs=1e-9)
    for row in rows_of(trained / "test_predictions.csv"):
        lower, upper = float(row["q(0.15)"]) - threshold, float(row["q(0.85)"]) + threshold
        assert float(row["lower"]) == pytest.approx(max(lower, 10), abs=1e-4)
        assert float(row["upper"]) == pytest.approx(min(upper, 19), abs=1e-4)


def test_the_predictor_and_an_exported_folder_have_the_same_intervals(
    trained: Path, data: Path, tmp_path: Path
) -> None:
    rows = rows_of(trained / "test_predictions.csv")[:6]
    predictor = OrdinalPredictor.load(trained)
    predictor.save_pretrained(tmp_path)
    for source in (predictor, OrdinalPredictor.load(tmp_path)):
        for one, row in zip(source([data / row["path"] for row in rows]), rows, strict=True):
            assert one.lower == pytest.approx(float(row["lower"]), abs=2e-3)
            assert one.upper == pytest.approx(float(row["upper"]), abs=2e-3)
            assert "quantiles" not in one.extras

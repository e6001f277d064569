"""A run on a logarithmic scale from the command line to its predictor, its export and its report."""

import math
from pathlib import Path

import pytest
import torch

from numclip_lightning.calibration import LevelValues
from numclip_lightning.cli import main
from numclip_lightning.deploy.predictor import OrdinalPredictor
from numclip_lightning.report.answers import read_scale
from numclip_lightning.scale import OrdinalScale
from support.command import Numclip, config_of, failure, metrics_of, rows_of

FLAGS = ["--model.scale.spacing=log", "--model.scale.step=1.05",
         "--model.scale.levels=[{phrase: few, start: 10}, {phrase: many, start: 14}]"]  # fmt: skip


def flags_of(numclip: Numclip) -> list[str]:
    return [word for word in numclip.flags if not word.startswith("--model.scale.levels")] + FLAGS


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["NumCLIP", "NumCLIPPlus"])
def test_all_verbs_know_it(numclip: Numclip, kind: str, tmp_path: Path) -> None:
    words = [f"--model={kind}", *(word for word in flags_of(numclip) if not word.startswith("--model="))]
    run = numclip.plain("fit", *words, "--test_after_fit=true", "--report=true")
    scale = read_scale(run)
    assert scale.spacing == "log"
    assert config_of(run)["model"]["init_args"]["scale"]["spacing"] == "log"
    rows = rows_of(run / "test_predictions.csv")
    errors = [abs(float(row["value"]) - float(row["target"])) for row in rows]
    assert metrics_of(run)["test_mae"] == pytest.approx(sum(errors) / len(errors), rel=1e-4)
    assert "in steps of 5.06 %" in (run / "report.html").read_text(encoding="utf-8")

    best = str(run / "checkpoints" / "best.ckpt")
    predicted = numclip.plain(
        "predict", "--config", str(run / "config.yaml"), "--ckpt_path", best, "--data.predict_path=test.txt"
    )
    expected = [float(row["value"]) for row in rows]
    assert [float(row["value"]) for row in rows_of(predicted / "predictions.csv")] == pytest.approx(expected, abs=1e-3)

    files = [numclip.data / row["path"] for row in rows]
    folder = tmp_path / "exported"
    assert main(["export", "--run", str(run), "--format", "safetensors,onnx", "--output", str(folder), "--check",
                 "true"]) == 0  # fmt: skip
    for place in (run, folder):
        predictor = OrdinalPredictor.load(str(place))
        assert predictor.scale == scale
        found = [one.value for one in predictor([str(file) for file in files])]
        assert found == pytest.approx(expected, abs=1e-2)
    assert LevelValues.of(scale).logarithmic


def test_a_checkpoint_brings_its_scale_and_zero_is_refused(
    numclip: Numclip, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*flags_of(numclip), "--model.scale.minimum=0"]
    assert failure("fit", *words) == 2
    assert "a logarithmic scale (scale.spacing=log) has no place for 0 and less" in capsys.readouterr().err
    assert not list(numclip.runs.glob("*"))
    run = numclip.plain("fit", *flags_of(numclip), "--trainer.max_epochs=1")
    saved = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["hyper_parameters"]["scale"]
    scale = OrdinalScale.of(saved)
    assert scale == read_scale(run)
    assert math.isclose(scale.centers[0].item(), math.sqrt(10 * scale.upper[0].item()), rel_tol=1e-5)

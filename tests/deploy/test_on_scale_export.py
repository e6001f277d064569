"""`numclip export --on_scale`: what a test says of an image, an exported predictor says too, and its formats."""

from pathlib import Path

import numpy as np
import pytest

from numclip_lightning import OrdinalPredictor
from numclip_lightning.cli import main
from numclip_lightning.deploy.inputs import pixels_of
from support.command import Numclip, failure, rows_of


@pytest.mark.parametrize(
    "score", ["nearest", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mahalanobis", "mcm"))]
)
def test_an_exported_predictor_says_what_the_test_says(
    score: str, fitted: Path, data: Path, numclip: Numclip, tmp_path: Path
) -> None:
    best = str(fitted / "checkpoints" / "best.ckpt")
    words = ["--config", str(fitted / "config.yaml"), "--ckpt_path", best, *numclip.small]
    rows = rows_of(numclip.plain("test", *words, f"--on_scale={score}") / "test_predictions.csv")
    assert main(["export", f"--run={fitted}", f"--output={tmp_path}", f"--on_scale={score}"]) == 0
    predictor = OrdinalPredictor.load(tmp_path)
    for one, row in zip(predictor([data / row["path"] for row in rows]), rows, strict=True):
        assert one.extras["scale_score"] == pytest.approx(float(row["scale_score"]), rel=2e-3, abs=2e-4)
        # A score that is that of a validation image may fall on either side of it.
        assert one.extras["on_scale"] == pytest.approx(float(row["on_scale"]), abs=1.01 / 16)
        assert one.value == pytest.approx(float(row["value"]), abs=1e-3)
    assert f"validation images that look no more like the scale than an image ({score})" in " ".join(
        (tmp_path / "README.md").read_text().replace("the\nscale", "the scale").split()
    )


@pytest.mark.slow
def test_onnx_has_it_too_and_a_card_without_it_says_so(fitted: Path, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    words = ["--format=safetensors,onnx", "--on_scale=mahalanobis"]
    assert main(["export", f"--run={fitted}", f"--output={tmp_path}", *words]) == 0
    predictor, image = OrdinalPredictor.load(tmp_path), data / "test_003.png"
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    names = [output.name for output in session.get_outputs()]
    pixels = pixels_of(image, predictor.recipe.reading)[None]
    found = dict(zip(names, session.run(None, {session.get_inputs()[0].name: pixels}), strict=True))
    assert found["scale_score"] == pytest.approx(np.array([predictor(image).extras["scale_score"]]), rel=1e-3)
    assert main(["export", f"--run={fitted}", f"--output={tmp_path / 'plain'}"]) == 0
    assert "It can't say whether an image is one of those" in (tmp_path / "plain" / "README.md").read_text()


def test_what_has_no_images_or_no_score_is_refused(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failure("export", "--run=mini", f"--output={tmp_path}", "--on_scale=nearest") == 2
    assert "learns from the images of a run, and mini is none" in capsys.readouterr().err
    assert failure("export", f"--run={fitted}", f"--output={tmp_path}", "--on_scale=method") == 2
    assert "is the method's own score, which NumCLIP lacks; take nearest" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

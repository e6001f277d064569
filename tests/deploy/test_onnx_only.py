"""The example without torch: onnxruntime, NumPy and Pillow alone read what the predictor reads."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from numclip_lightning.deploy.formats import export
from support.places import REPOSITORY
from support.predictors import random_images, tiny_predictor

# Whatever else is installed, these can't be imported.
WITHOUT = """
import sys, runpy
for name in ("torch", "torchvision", "lightning", "numclip_lightning", "cv2", "albumentations", "open_clip"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_it_gives_the_number_without_torch(tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="the extra onnx is not installed")
    model = export(tiny_predictor(), "onnx", tmp_path)
    (pixels,) = random_images(1)
    file = tmp_path / "noise.png"
    Image.fromarray(pixels).save(file)
    command = [sys.executable, "-c", WITHOUT, str(REPOSITORY / "examples" / "onnx_only.py"), str(model), str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert float(result.stdout.split()[1]) == pytest.approx(tiny_predictor()(pixels).value, abs=6e-4)

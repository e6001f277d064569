"""Numbers from images by an exported model, with onnxruntime, NumPy and Pillow alone; neither torch nor this package.

python examples/onnx_only.py exported/model.onnx image.jpg ...
"""

import json
import os
import sys

import numpy as np
from PIL import Image, ImageOps

# onnxruntime reports its use to its makers unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime


def main(model: str, *names: str) -> None:
    """Print the number of each image."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    scale = json.loads(session.get_modelmeta().custom_metadata_map["numclip"])["scale"]
    outputs = [output.name for output in session.get_outputs()]
    for name in names:
        # Upright, as cameras meant it; the rest of the preprocessing is in the model.
        pixels = np.asarray(ImageOps.exif_transpose(Image.open(name)).convert("RGB"))
        found = dict(zip(outputs, session.run(None, {"images": pixels[None]}), strict=True))
        best = scale["levels"][int(found["probabilities"][0].argmax())]["phrase"]
        print(f"{name}: {found['value'][0]:.4f} {scale['unit']} ({best})")


if __name__ == "__main__":
    main(*sys.argv[1:])

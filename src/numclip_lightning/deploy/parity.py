"""Exports beside the module that they were made from: the largest difference, the time, the size."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from numclip_lightning.deploy.formats import FORMATS, INPUT, Format, Pixels
from numclip_lightning.deploy.libraries import needs
from numclip_lightning.deploy.predictor import OrdinalPredictor
from numclip_lightning.errors import ConfigError
from numclip_lightning.progress import watched

__all__ = ["RESULTS", "Parity", "Runner", "compare", "parity_table", "runner", "write_parity"]

Values = npt.NDArray[np.float64]
# Images of one size (B, H, W, 3) -> their values (B,).
Runner = Callable[[Pixels], Values]

TOLERANCE = 1e-4
"""The largest difference of an export in float32, as a share of the range of the scale."""
RESULTS = "parity.json"
_LARGE = 32
_REPEATS = 5


@dataclass(frozen=True, kw_only=True)
class Parity:
    """One export beside the module.

    Attributes:
        format: The format.
        largest: The largest difference of a value, in the unit of the scale.
        mean: The mean absolute difference.
        share: The largest difference as a share of the range.
        images: How many images were compared.
        one: Milliseconds of a batch of 1, of the size that the model takes.
        many: Milliseconds of a batch of 32.
        size: Bytes of its files.
        mae: The mean absolute error on these images; None if their true numbers are not known.
    """

    format: str
    largest: float
    mean: float
    share: float
    images: int
    one: float
    many: float
    size: int
    mae: float | None = None

    @property
    def agrees(self) -> bool:
        """Whether it gives the module's numbers; int8 is not meant to."""
        return self.share <= TOLERANCE or self.format.endswith("int8")


def runner(kind: Format, file: Path) -> Runner:
    """Return a function that runs an export.

    Raises:
        ConfigError: If a library is missing, or there is no file.
    """
    if not file.is_file():
        raise ConfigError(f"there is no {file}; export it first.")
    if kind == "safetensors":
        predictor = OrdinalPredictor.load(file.parent)
        return lambda pixels: np.array([one.value for one in predictor(list(pixels))])
    if kind == "torch":
        module = torch.export.load(str(file)).module()
        return torch.inference_mode()(lambda pixels: module(torch.from_numpy(pixels))[0].double().numpy())
    if kind == "openvino":
        (openvino,) = needs("openvino", "openvino")
        model = openvino.Core().compile_model(str(file), "CPU")
        return lambda pixels: np.asarray(model([pixels])[0], dtype=np.float64)
    (runtime,) = needs("onnx", "onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda pixels: np.asarray(session.run(None, {INPUT: pixels})[0], dtype=np.float64)


def compare(
    predictor: OrdinalPredictor,
    formats: Sequence[Format],
    folder: Path,
    images: Sequence[Pixels],
    targets: Sequence[float] | None = None,
) -> list[Parity]:
    """Compare exports with the module on images, the module itself first.

    Args:
        predictor: The module.
        formats: What was exported to `folder`.
        folder: The folder.
        images: Decoded images, (H, W, 3) uint8 each, at least one.
        targets: Their true numbers, if they are known: what a format costs in MAE.

    Raises:
        ConfigError: If there are no images, a library is missing, or there is no file.
    """
    if not images:
        raise ConfigError("there are no images to compare on; give some with --images.")
    expected = np.array([one.value for one in predictor(images)])
    extent = predictor.scale.maximum - predictor.scale.minimum or 1
    side = predictor.recipe.image_size
    runs: dict[str, tuple[Runner, Path | None]] = {
        "module": (lambda pixels: np.array([one.value for one in predictor(list(pixels))]), None)
    }
    runs |= {name: (runner(name, folder / FORMATS[name][0]), folder / FORMATS[name][0]) for name in formats}
    found = []
    for name, (run, file) in runs.items():
        values = np.concatenate([run(image[None]) for image in watched(images, len(images), f"reading with {name}")])
        difference = np.abs(values - expected)
        found.append(
            Parity(
                format=name,
                largest=float(difference.max()),
                mean=float(difference.mean()),
                share=float(difference.max() / extent),
                images=len(images),
                one=_milliseconds(run, 1, side),
                many=_milliseconds(run, _LARGE, side),
                size=_size(file),
                mae=None if targets is None else float(np.abs(values - np.asarray(targets)).mean()),
            )
        )
    return found


def parity_table(rows: Sequence[Parity], unit: str = "") -> str:
    """Write the comparison as a table of Markdown."""
    number, of = rows[0].images if rows else 0, f" ({unit})" if unit else ""
    heading = ["format", f"largest difference on {number} images{of}", "share of the range", "mean difference"]
    heading += ["batch of 1 (ms)", f"batch of {_LARGE} (ms)", "size (MB)"]
    has_errors = any(row.mae is not None for row in rows)
    lines = [[*heading, *(["MAE" + of] if has_errors else [])]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        cells = [row.format, f"{row.largest:.2g}", f"{row.share:.1e}", f"{row.mean:.2g}"]
        cells += [f"{row.one:.1f}", f"{row.many:.1f}", f"{row.size / 1e6:.2f}" if row.size else ""]
        lines.append([*cells, *([f"{row.mae:.4g}"] if row.mae is not None else [])])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_parity(rows: Sequence[Parity], folder: Path) -> None:
    """Write the comparison beside the exports, as `parity.json`."""
    (folder / RESULTS).write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")


def _milliseconds(run: Runner, batch: int, side: int) -> float:
    """Return the median time of a batch, after one that is not counted."""
    pixels = np.zeros((batch, side, side, 3), dtype=np.uint8)
    run(pixels)
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        run(pixels)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def _size(file: Path | None) -> int:
    if file is None:
        return 0
    # OpenVINO keeps the weights beside the graph.
    beside = file.with_suffix(".bin")
    return file.stat().st_size + (beside.stat().st_size if file.suffix == ".xml" and beside.is_file() else 0)

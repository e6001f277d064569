"""Predictors in other formats: one graph from decoded images to the number, with the preprocessing inside."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from numclip_lightning.deploy.libraries import explained, needs, quiet
from numclip_lightning.deploy.parts import any_size, exportable
from numclip_lightning.deploy.predictor import OrdinalPredictor
from numclip_lightning.deploy.resizing import InGraph
from numclip_lightning.deploy.translations import translated
from numclip_lightning.errors import ConfigError

__all__ = ["FORMATS", "Format", "WholeModel", "export"]

Format = Literal["safetensors", "torch", "onnx", "onnx-int8", "openvino"]
Pixels = npt.NDArray[np.uint8]

# The file of each format, and the extra that it needs.
FORMATS: dict[Format, tuple[str, str]] = {
    "safetensors": ("model.safetensors", ""),
    "torch": ("model.pt2", ""),
    "onnx": ("model.onnx", "onnx"),
    "onnx-int8": ("model.int8.onnx", "onnx"),
    "openvino": ("model.xml", "openvino"),
}
INPUT = "images"


class WholeModel(nn.Module):
    """A predictor as one module: images (B, H, W, 3) uint8, all of one size -> the tensors of `names`.

    Args:
        predictor: The predictor, on the CPU; its modules are shared.
    """

    def __init__(self, predictor: OrdinalPredictor) -> None:
        super().__init__()
        self.preprocess = InGraph(predictor.recipe)
        self.encoder, self.decoder = predictor.halves.encoder, predictor.halves.decoder
        self.names = predictor.halves.names

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return `value` (B,), `probabilities` (B, K) and what else the method has."""
        found: tuple[Tensor, ...] = self.decoder(self.encoder(self.preprocess(images)))
        return found


def export(
    predictor: OrdinalPredictor,
    kind: Format,
    folder: Path,
    calibration: Sequence[Pixels] = (),
    onnx: Path | None = None,
) -> Path:
    """Write a predictor in a format, beside its `config.json`; the predictor is not changed.

    Args:
        predictor: The predictor, on the CPU.
        kind: One of `FORMATS`.
        folder: Where to write; created if it is missing.
        calibration: Images whose activations set the ranges of `onnx-int8`; the other formats need none.
        onnx: The same predictor as `onnx`, if it is there already: int8 and OpenVINO are made from it.

    Returns:
        The file.

    Raises:
        ConfigError: If a library is missing, the model has what the format does not, or there is nothing to calibrate.
    """
    if predictor.device.type != "cpu":
        raise ConfigError(f"the predictor is on {predictor.device}; load it with device='cpu' to export it.")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FORMATS[kind][0]
    if kind == "safetensors":
        predictor.save_pretrained(folder)
    else:
        writers: dict[str, Callable[[], None]] = {
            "torch": lambda: _write_torch(predictor, file),
            "onnx": lambda: _write_onnx(predictor, file),
            "onnx-int8": lambda: _write_int8(predictor, file, calibration, onnx),
            "openvino": lambda: _write_openvino(predictor, file, onnx),
        }
        writers[kind]()
    return file


def _example(predictor: OrdinalPredictor) -> tuple[Tensor, dict[int, Any]]:
    """Return images that no dimension is special for, and the names of those that may change."""
    side = predictor.recipe.image_size
    sizes = ("batch", "height", "width")
    return torch.zeros(2, side + 3, side + 7, 3, dtype=torch.uint8), dict(enumerate(map(any_size, sizes)))


def metadata(predictor: OrdinalPredictor) -> dict[str, str]:
    """Return what a file says of itself: scale, preprocessing, outputs, method and calibration, as JSON."""
    about = {
        "format": "numclip-model",
        "method": predictor.config["method"],
        "scale": predictor.scale.to_dict(),
        "preprocessing": predictor.recipe.to_dict(),
        "outputs": predictor.halves.names,
    }
    if "calibration" in predictor.about:
        about["calibration"] = predictor.about["calibration"]
    return {"numclip": json.dumps(about, ensure_ascii=False)}


def _write_torch(predictor: OrdinalPredictor, file: Path) -> None:
    example, sizes = _example(predictor)
    model = WholeModel(predictor).eval()
    with explained("torch"), exportable(), quiet():
        model(example)
        program = torch.export.export(model, (example,), dynamic_shapes=(sizes,), strict=False)
        _drop_unused(program)
        torch.export.save(program, file, extra_files=metadata(predictor))


def _drop_unused(program: Any) -> None:
    """Leave out the tensors that no operation reads, such as those of a text tower."""
    unused = {node.name for node in program.graph.nodes if node.op == "placeholder" and not node.users}
    specs = [spec for spec in program.graph_signature.input_specs if spec.arg.name in unused]
    for spec in specs:
        if spec.target is not None:
            program.graph_signature.input_specs.remove(spec)
            program.state_dict.pop(spec.target, None)
            program.constants.pop(spec.target, None)
    names = {spec.arg.name for spec in specs if spec.target is not None}
    for node in [node for node in program.graph.nodes if node.name in names]:
        program.graph.erase_node(node)
    program.graph_module.recompile()


def _write_onnx(predictor: OrdinalPredictor, file: Path) -> None:
    onnx, _ = needs("onnx", "onnx", "onnxscript")
    example, sizes = _example(predictor)
    model = WholeModel(predictor).eval()
    with explained("onnx"), exportable(), quiet():
        model(example)
        program = translated(torch.export.export(model, (example,), dynamic_shapes=(sizes,), strict=False))
        _drop_unused(program)
        torch.onnx.export(
            program, (example,), str(file), input_names=[INPUT], output_names=list(model.names),
            dynamic_shapes=(sizes,), external_data=False, optimize=True, verbose=False,
        )  # fmt: skip
    written = onnx.load(str(file))
    for key, value in metadata(predictor).items():
        written.metadata_props.add(key=key, value=value)
    onnx.save(written, str(file))


@contextmanager
def _as_onnx(predictor: OrdinalPredictor, file: Path, known: Path | None) -> Iterator[Path]:
    """Yield the predictor as ONNX: a file that is there, or one that is removed afterwards."""
    if known is not None:
        yield known
        return
    whole = file.with_name("model.whole.onnx")
    try:
        _write_onnx(predictor, whole)
        yield whole
    finally:
        whole.unlink(missing_ok=True)


def _write_int8(predictor: OrdinalPredictor, file: Path, calibration: Sequence[Pixels], known: Path | None) -> None:
    onnx, quantization = needs("onnx", "onnx", "onnxruntime.quantization")
    if not calibration:
        raise ConfigError("onnx-int8 is calibrated on images; give some with --images, such as the validation images.")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.images = iter(calibration)

        def get_next(self) -> dict[str, Pixels] | None:
            image = next(self.images, None)
            return None if image is None else {INPUT: image[None]}

    methods = quantization.CalibrationMethod
    with _as_onnx(predictor, file, known) as whole:
        with explained("onnx-int8"), quiet():
            quantization.quantize_static(
                str(whole), str(file), Reader(), per_channel=True, op_types_to_quantize=["Conv", "Gemm"],
                weight_type=quantization.QuantType.QInt8, activation_type=quantization.QuantType.QUInt8,
                calibrate_method=methods.Percentile if len(calibration) > 1000 else methods.MinMax,
            )  # fmt: skip
        written = onnx.load(str(file))
        del written.metadata_props[:]
        written.metadata_props.extend(onnx.load(str(whole)).metadata_props)
        onnx.save(written, str(file))


def _write_openvino(predictor: OrdinalPredictor, file: Path, known: Path | None) -> None:
    (openvino,) = needs("openvino", "openvino")
    with _as_onnx(predictor, file, known) as whole, explained("openvino"):
        # Not `convert_model`, which reports its use to its makers.
        model = openvino.Core().read_model(str(whole))
        model.set_rt_info(metadata(predictor)["numclip"], ["numclip"])
        openvino.save_model(model, str(file), compress_to_fp16=False)

"""Predictors in other formats: one graph from decoded images to the number, with the preprocessing inside."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from numclip_lightning.deploy.parts import exportable
from numclip_lightning.deploy.predictor import OrdinalPredictor
from numclip_lightning.deploy.resizing import InGraph
from numclip_lightning.deploy.translations import translated
from numclip_lightning.errors import ConfigError

__all__ = ["FORMATS", "Format", "WholeModel", "export", "needs"]

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


def needs(extra: str, *modules: str) -> list[Any]:
    """Import optional libraries.

    Args:
        extra: The extra that installs them.
        modules: Their names.

    Raises:
        ConfigError: If one is not installed; the message says how to install it.
    """
    try:
        return [import_module(module) for module in modules]
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"this needs {error.name}; install it with pip install 'numclip-lightning[{extra}]'."
        ) from error


def export(
    predictor: OrdinalPredictor,
    kind: Format,
    folder: Path,
    calibration: Sequence[Pixels] = (),
) -> Path:
    """Write a predictor in a format, beside its `config.json`; the predictor is not changed.

    Args:
        predictor: The predictor, on the CPU.
        kind: One of `FORMATS`.
        folder: Where to write; created if it is missing.
        calibration: Images whose activations set the ranges of `onnx-int8`; the other formats need none.

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
            "onnx-int8": lambda: _write_int8(predictor, file, calibration),
            "openvino": lambda: _write_openvino(predictor, file),
        }
        writers[kind]()
    return file


def _example(predictor: OrdinalPredictor) -> tuple[Tensor, dict[int, Any]]:
    """Return images that no dimension is special for, and the names of those that may change."""
    side = predictor.recipe.image_size
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("height"), 2: torch.export.Dim("width")}
    return torch.zeros(2, side + 3, side + 7, 3, dtype=torch.uint8), sizes


def metadata(predictor: OrdinalPredictor) -> dict[str, str]:
    """Return what a file says of itself: scale, preprocessing, outputs and method, as JSON."""
    about = {
        "format": "numclip-model",
        "method": predictor.config["method"],
        "scale": predictor.scale.to_dict(),
        "preprocessing": predictor.recipe.to_dict(),
        "outputs": predictor.halves.names,
    }
    return {"numclip": json.dumps(about, ensure_ascii=False)}


def _write_torch(predictor: OrdinalPredictor, file: Path) -> None:
    example, sizes = _example(predictor)
    model = WholeModel(predictor).eval()
    with _explained("torch"), exportable(), _quiet():
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
    with _explained("onnx"), exportable(), _quiet():
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


def _write_int8(predictor: OrdinalPredictor, file: Path, calibration: Sequence[Pixels]) -> None:
    onnx, quantization = needs("onnx", "onnx", "onnxruntime.quantization")
    if not calibration:
        raise ConfigError("onnx-int8 is calibrated on images; give some with --images, such as the validation images.")
    whole = file.with_name("model.whole.onnx")
    try:
        _write_onnx(predictor, whole)

        class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                self.images = iter(calibration)

            def get_next(self) -> dict[str, Pixels] | None:
                image = next(self.images, None)
                return None if image is None else {INPUT: image[None]}

        with _explained("onnx-int8"), _quiet():
            quantization.quantize_static(
                str(whole), str(file), Reader(), per_channel=True, op_types_to_quantize=["Conv", "Gemm"],
                weight_type=quantization.QuantType.QInt8, activation_type=quantization.QuantType.QUInt8,
                calibrate_method=quantization.CalibrationMethod.Percentile
                if len(calibration) > 1000 else quantization.CalibrationMethod.MinMax,
            )  # fmt: skip
        written, known = onnx.load(str(file)), onnx.load(str(whole))
        del written.metadata_props[:]
        written.metadata_props.extend(known.metadata_props)
        onnx.save(written, str(file))
    finally:
        whole.unlink(missing_ok=True)


def _write_openvino(predictor: OrdinalPredictor, file: Path) -> None:
    (openvino,) = needs("openvino", "openvino")
    whole = file.with_name("model.whole.onnx")
    try:
        _write_onnx(predictor, whole)
        with _explained("openvino"):
            model = openvino.convert_model(str(whole))
            model.set_rt_info(metadata(predictor)["numclip"], ["numclip"])
            openvino.save_model(model, str(file), compress_to_fp16=False)
    finally:
        whole.unlink(missing_ok=True)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # exporters have dozens of errors
        reason = " ".join(str(error).split())[:400]
        raise ConfigError(f"the model can't be exported as {name}: {type(error).__name__}: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the reports of exporters to themselves; what goes wrong is raised."""
    logs = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx", "root")]
    levels = [log.level for log in logs]
    try:
        for log in logs:
            log.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)

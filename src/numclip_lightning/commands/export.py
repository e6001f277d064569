"""`numclip export`: a run in formats that other programs read, and what they say beside the module."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from numclip_lightning.commands.run_data import data_of_run
from numclip_lightning.commands.scale_score import with_learned_score
from numclip_lightning.deploy.formats import FORMATS, Format, export
from numclip_lightning.deploy.inputs import pixels_of
from numclip_lightning.deploy.parity import compare, parity_table, write_parity
from numclip_lightning.deploy.predictor import OrdinalPredictor
from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.images.folders import list_images
from numclip_lightning.progress import busy, watched
from numclip_lightning.runs.scale_scores import ScoreName

__all__ = ["export_command"]

Pixels = npt.NDArray[np.uint8]


def export_command(words: Sequence[str]) -> int:
    """Run `numclip export --run RUN --format FORMAT[,FORMAT]... --output DIR [--check true]`.

    Args:
        words: The words after `numclip export`.

    Returns:
        0, or 1 if an export in float32 says something else than the module.

    Raises:
        ConfigError: If there is no model, a format is unknown or can't hold it, or a library is missing.
    """
    parser = ArgumentParser(
        prog="numclip export",
        usage="numclip export --run RUN [--format FORMAT,...] --output DIR [--check true] [--on_scale SCORE]",
        description="Write a trained model for other programs, with its scale and its preprocessing.",
        allow_abbrev=False,
    )
    parser.add_argument("--run", type=str, required=True, help="A run folder, a checkpoint or an exported folder.")
    parser.add_argument("--format", type=str, default="safetensors", help=f"One or more of {', '.join(FORMATS)}.")
    parser.add_argument("--output", type=str, required=True, help="The folder to write to.")
    parser.add_argument("--check", type=bool, default=False, help="Compare each format with the module on images.")
    parser.add_argument("--images", type=str | None, default=None,
                        help="Images to compare on and to calibrate int8 with; by default the validation images of the "
                        "run.")  # fmt: skip
    parser.add_argument("--most_images", type=PositiveInt, default=200,
                        help="How many of them are used; with int8, half to calibrate, half to compare.")  # fmt: skip
    parser.add_argument("--backbone", type=str | None, default=None,
                        help="Where the CLIP of a checkpoint is now, if its folder has moved.")  # fmt: skip
    parser.add_argument("--on_scale", type=ScoreName | None, default=None,
                        help="Say of each image whether it is on the scale at all, by this score, learned from the "
                        "training and validation images of the run.")  # fmt: skip
    chosen = parser.parse_args(list(words))
    formats = _formats(chosen.format)
    predictor, folder = OrdinalPredictor.load(chosen.run, backbone=chosen.backbone), Path(chosen.output)
    if chosen.on_scale:
        predictor = with_learned_score(predictor, Path(chosen.run), chosen.on_scale)
    shown, calibration = Images([]), Images([])
    if chosen.check or "onnx-int8" in formats:
        shown, calibration = _split(_images(chosen, predictor), "onnx-int8" in formats)
    onnx: Path | None = None
    for name in formats:
        with busy(f"exporting as {name}"):
            file = export(predictor, name, folder, calibration.pixels, onnx)
        onnx = file if name == "onnx" else onnx
        print(f"{name}: {file} ({file.stat().st_size / 1e6:.1f} MB)")  # noqa: T201
    if not chosen.check:
        return 0
    rows = compare(predictor, formats, folder, shown.pixels, shown.targets)
    write_parity(rows, folder)
    print(f"\n{parity_table(rows, predictor.scale.unit)}")  # noqa: T201
    return int(not all(row.agrees for row in rows))


class Images(NamedTuple):
    """Decoded images.

    Attributes:
        pixels: Each (H, W, 3) uint8.
        targets: Their true numbers, if they are known.
    """

    pixels: list[Pixels]
    targets: list[float] | None = None

    def every_second(self, first: int) -> "Images":
        """Return every second image from the first or the second on."""
        return Images(self.pixels[first::2], self.targets and self.targets[first::2])


def _split(images: Images, calibrates: bool) -> tuple[Images, Images]:
    """Return the images to compare on, and those that int8 is calibrated on: others, if there are two."""
    if not calibrates or len(images.pixels) < 2:
        return images, images
    return images.every_second(0), images.every_second(1)


def _formats(given: str) -> list[Format]:
    found: list[Any] = [name.strip() for name in given.strip("[]").split(",")]
    for name in found:
        check_choice("--format", name, FORMATS)
    return found


def _images(chosen: Namespace, predictor: OrdinalPredictor) -> Images:
    """Return decoded images: those of a folder, or the validation images of the run with their targets."""
    given, run, most = chosen.images, Path(chosen.run), chosen.most_images
    if given is not None:
        files = list_images(given) if Path(given).is_dir() else [Path(given)]
        return Images(_read(files[:most], predictor))
    module = data_of_run(run, "export")
    if module is None:
        raise ConfigError(f"{run} is no run folder, so that it has no validation images; give images with --images.")
    dataset: Any = module.dataset("val")
    # Several numbers of an image are those of several people who looked at it.
    targets = [fmean(label.targets) for label in module.labels("val")][:most]
    if (scenes := getattr(dataset, "pixels", None)) is not None:
        return Images([scene.numpy() for scene in scenes[:most]], targets)
    return Images(_read(dataset.files[:most], predictor), targets)


def _read(files: Sequence[Path], predictor: OrdinalPredictor) -> list[Pixels]:
    return [pixels_of(file, predictor.recipe.reading) for file in watched(files, len(files), "reading images")]

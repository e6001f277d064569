"""Features of images on disk, for all runs with the same frozen image tower, preprocessing and images."""

import hashlib
import json
import logging
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from numclip_lightning.data.base.dataset import OrdinalDataset
from numclip_lightning.images.pixel_cache import key_of
from numclip_lightning.methods.base.frozen import fingerprint
from numclip_lightning.methods.base.method import OrdinalMethod

__all__ = ["feature_file", "read_features", "write_features"]

_log = logging.getLogger(__name__)


def feature_file(folder: Path, method: OrdinalMethod, dataset: Any, precision: str) -> Path | None:
    """Return where the features of a dataset are, or will be.

    The name changes with the weights of the image tower, the precision of the run, the files with size and time of
    their last change, the parts of them that are used, and all that is done to their pixels.

    Args:
        folder: The folder of all features.
        method: The method; its image tower is frozen.
        dataset: The images.
        precision: The precision of the run, as Lightning names it.

    Returns:
        The file; None for images that are in no files, and for methods with an encoding of their own.
    """
    if not isinstance(dataset, OrdinalDataset) or type(method).encode_images is not OrdinalMethod.encode_images:
        return None
    tower = hashlib.sha256()
    for name, tensor in method.clip.visual.state_dict().items():
        tower.update(f"{name} {fingerprint(tensor)}\n".encode())
    transform = dataset.transform
    settings = [tower.hexdigest(), precision, asdict(dataset.reading), transform.settings, transform.normalization]
    boxes = [None] * len(dataset) if dataset.labels.columns else [label.box for label in dataset.labels]
    return folder / f"{key_of(dataset.files, boxes, settings)}.safetensors"


def read_features(file: Path, total: int) -> Tensor | None:
    """Read features, and check that they are whole.

    Args:
        file: See `feature_file`.
        total: How many images there are.

    Returns:
        The features, (total, D); None if there is no such file, or, with a warning, if it is damaged.
    """
    if not file.exists():
        return None
    try:
        with safe_open(file, "pt") as content:
            features: Tensor = content.get_tensor("features")
            known = content.metadata() or {}
    except (SafetensorError, OSError) as error:
        _log.warning("features: %s can't be read (%s); the images are encoded again", file, error)
        return None
    if len(features) != total or known.get("fingerprint") != fingerprint(features):
        _log.warning("features: %s is damaged; the images are encoded again", file)
        return None
    return features


def write_features(file: Path, features: Tensor, about: dict[str, object]) -> None:
    """Write features whole or not at all; two processes that write the same file both succeed.

    Args:
        file: See `feature_file`.
        features: (N, D).
        about: What a reader may want to know: plain values by name.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{uuid.uuid4().hex}.part")
    try:
        known = {"fingerprint": fingerprint(features), "about": json.dumps(about)}
        save_file({"features": features.contiguous()}, part, known)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)

"""Features of images on disk, for all runs with the same frozen image tower, preprocessing and images."""

import hashlib
import json
import logging
import os
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from numclip_lightning.data.base.dataset import OrdinalDataset
from numclip_lightning.images.pixel_cache import key_of
from numclip_lightning.methods.base.frozen import fingerprint
from numclip_lightning.methods.base.method import OrdinalMethod

__all__ = [
    "about_features",
    "feature_file",
    "is_whole",
    "read_features",
    "read_tensors",
    "stamps_of",
    "write_features",
    "write_tensors",
]

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
        The file; None for images that are in no files, and for methods with an encoding of their own or
        several looks.
    """
    kind = type(method)
    own = (kind.encode_images, kind.encode_look) != (OrdinalMethod.encode_images, OrdinalMethod.encode_look)
    if not isinstance(dataset, OrdinalDataset) or own or method.looks_several_times:
        return None
    tower = hashlib.sha256()
    for name, tensor in method.clip.visual.state_dict().items():
        tower.update(f"{name} {fingerprint(tensor)}\n".encode())
    transform = dataset.transform
    settings = [tower.hexdigest(), precision, asdict(dataset.reading), transform.settings, transform.normalization]
    boxes = [None] * len(dataset) if dataset.labels.columns else [label.box for label in dataset.labels]
    return folder / f"{key_of(dataset.files, boxes, settings)}.safetensors"


def about_features(method: OrdinalMethod, dataset: OrdinalDataset, split: str, precision: str) -> dict[str, object]:
    """Return what people may want to know of features, as plain values: it is no part of what they are found by."""
    return {
        "images": len(dataset),
        "backbone": method.backbone,
        "pretrained": method.pretrained,
        "split": split,
        "list": [str(source) for source in dataset.labels.sources[:1]],
        "root": str(dataset.root),
        "precision": precision,
        "transform": list(dataset.transform.settings),
    }


def stamps_of(files: Any) -> dict[str, Tensor]:
    """Return the names of image files, with the size and the time of the last change of each.

    Args:
        files: The files.

    Returns:
        `names`, uint8: the absolute paths with a zero byte between them; `stamps`, int64 (N, 2): bytes and nanoseconds,
        -1 for a file that is missing.
    """
    names, stamps = [], np.full((len(files), 2), -1, dtype=np.int64)
    for number, file in enumerate(files):
        names.append(os.fsencode(file.absolute()))
        try:
            status = file.stat()
        except OSError:
            continue
        stamps[number] = status.st_size, status.st_mtime_ns
    joined = np.frombuffer(b"\0".join(names), dtype=np.uint8)
    return {"names": torch.from_numpy(joined.copy()), "stamps": torch.from_numpy(stamps)}


def read_features(file: Path, total: int) -> Tensor | None:
    """Read features, and check that they are whole.

    They are mapped into memory: processes of one machine that read the same file share its pages.

    Args:
        file: See `feature_file`.
        total: How many images there are.

    Returns:
        The features, (total, D); None if there is no such file, or, with a warning, if it is damaged.
    """
    if not file.exists():
        return None
    try:
        tensors, known = read_tensors(file)
    except (SafetensorError, OSError) as error:
        _log.warning("features: %s can't be read (%s); the images are encoded again", file, error)
        return None
    features = tensors.get("features")
    if features is None or len(features) != total or not is_whole(tensors, known):
        _log.warning("features: %s is damaged; the images are encoded again", file)
        return None
    return features


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file and its texts, both by name.

    Args:
        file: As `write_tensors` has written it.

    Raises:
        SafetensorError: If it is damaged.
        OSError: If it can't be read.
    """
    with safe_open(file, "pt") as content:
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (not a mapping)
        return tensors, content.metadata() or {}


def is_whole(tensors: dict[str, Tensor], known: dict[str, str]) -> bool:
    """Return whether the tensors of a file are those that were written.

    Args:
        tensors: By name.
        known: The texts of the file.
    """
    return known.get("fingerprint") == _fingerprint(tensors)


def _fingerprint(tensors: dict[str, Tensor]) -> str:
    """Return that of the features, and of what else there is beside them."""
    return " ".join(fingerprint(tensors[name]) for name in ("features", "names", "stamps") if name in tensors)


def write_features(
    file: Path, features: Tensor, about: dict[str, object], stamps: dict[str, Tensor] | None = None
) -> None:
    """Write features whole or not at all; two processes that write the same file both succeed.

    Args:
        file: See `feature_file`.
        features: (N, D).
        about: What a reader may want to know: plain values by name.
        stamps: See `stamps_of`; `numclip features --list` tells by them whether the images are still the same.
    """
    write_tensors(file, {"features": features.contiguous(), **(stamps or {})}, {"about": json.dumps(about)})


def write_tensors(file: Path, tensors: dict[str, Tensor], known: dict[str, str]) -> None:
    """Write a file of tensors whole or not at all, with what `is_whole` tells damage by.

    Args:
        file: Its folder is made.
        tensors: By name.
        known: Texts by name.
    """
    known = {**known, "fingerprint": _fingerprint(tensors)}
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{uuid.uuid4().hex}.part")
    try:
        save_file(tensors, part, known)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)

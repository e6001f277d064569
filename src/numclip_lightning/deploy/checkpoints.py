"""From a run folder or a checkpoint to a method in memory; needs Lightning, because methods are its modules."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numclip_lightning.deploy.facts import read_mapping
from numclip_lightning.deploy.recipe import Recipe
from numclip_lightning.errors import ConfigError
from numclip_lightning.images.transforms import NORMALIZATIONS

__all__ = ["find_checkpoint", "load_checkpoint", "recipe_of", "run_folder_of"]

_CONFIG = "config.yaml"
_CHECKPOINTS = "checkpoints"


def find_checkpoint(folder: Path) -> Path:
    """Return the best checkpoint of a run folder.

    Raises:
        ConfigError: If there is none.
    """
    found = sorted((folder / _CHECKPOINTS).glob("*.ckpt"))
    best = [file for file in found if file.name == "best.ckpt"] or [file for file in found if file.name != "last.ckpt"]
    if len(best) != 1:
        there = f"; it has {', '.join(file.name for file in found)}" if found else ""
        raise ConfigError(f"{folder / _CHECKPOINTS} has no best.ckpt{there}; give the checkpoint itself.")
    return best[0]


def run_folder_of(checkpoint: Path) -> Path | None:
    """Return the run folder that a checkpoint is in; None if it was moved out."""
    return next((folder for folder in checkpoint.absolute().parents[:2] if (folder / _CONFIG).is_file()), None)


def load_checkpoint(path: Path, backbone: str | None = None) -> Any:
    """Build the method of a checkpoint with its weights, in evaluation on the CPU.

    Args:
        path: The checkpoint.
        backbone: Where its CLIP is now, if a `local-dir:` has moved; None is where it was.

    Returns:
        The `OrdinalMethod`.

    Raises:
        ConfigError: If it is no checkpoint of this project, or any of its weights is missing or of another shape.
    """
    # Imported here: these need Lightning, which exported folders don't.
    from numclip_lightning.methods.base.frozen import left_out
    from numclip_lightning.methods.base.saved import CLASS_PATH, method_class, read_checkpoint

    checkpoint = read_checkpoint(path)
    kind = method_class(checkpoint, path)
    arguments = {key: value for key, value in checkpoint["hyper_parameters"].items() if key != CLASS_PATH}
    place, tag = str(arguments["backbone"]), arguments["pretrained"]
    # Of a whole checkpoint nothing is looked for: its CLIP may be gone.
    arguments |= {"backbone": backbone or place, "pretrained": tag if left_out(checkpoint) else None}
    try:
        with _without_warning_of_random_weights():
            method: Any = kind(**arguments)
        method.on_load_checkpoint(checkpoint)
    except ConfigError as error:
        hint = (
            "; it leaves out frozen weights: say where its CLIP is now with backbone=" if left_out(checkpoint) else ""
        )
        raise ConfigError(f"{path}: {error}{hint}") from error
    try:
        method.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise ConfigError(
            f"the weights in {path} don't fit {kind.__name__} on backbone={backbone or place!r}, and a prediction with "
            f"untrained parts is none: {' '.join(str(error).split())[:400]}"
        ) from error
    # Normalisation belongs to the weights, which were not looked for by their tag.
    from numclip_lightning.models.normalization import trained_normalization

    if found := trained_normalization(backbone or place, tag):
        method.clip.mean, method.clip.std = found
    method.hparams["backbone"], method.hparams["pretrained"] = place, tag
    return method.eval()


def recipe_of(folder: Path | None, method: Any, path: Path) -> Recipe:
    """Return how a run has made its images.

    Args:
        folder: The run folder; None if the checkpoint was moved out of it.
        method: The method.
        path: The checkpoint, for the message.

    Raises:
        ConfigError: If there is no run folder, or its configuration can't be read: preprocessing is never guessed.
    """
    if folder is None:
        raise ConfigError(
            f"{path} is in no run folder, so that nothing says how its images were made; leave it in its run folder "
            f"(beside {_CONFIG}), or give the recipe: OrdinalPredictor.load(path, recipe=Recipe(...))."
        )
    config = read_mapping(folder / _CONFIG)
    data: dict[str, Any] = (config.get("data") or {}).get("init_args") or {}
    clip, preprocess = method.clip, data.get("preprocess", "clip")
    name = data.get("normalize")
    if name and name != "backbone":
        mean, std = NORMALIZATIONS[name]
    elif preprocess == "published" and not name:
        mean, std = NORMALIZATIONS["imagenet"]
    else:
        mean, std = clip.mean, clip.std
    own = {"preprocess": preprocess, "image_size": data.get("image_size") or clip.image_size, "mean": mean, "std": std}
    return Recipe.of({**own, **{key: data[key] for key in ("max_pixels", "grey_range") if data.get(key)}})


@contextmanager
def _without_warning_of_random_weights() -> Iterator[None]:
    """Build a model whose weights come in the next step."""
    log = logging.getLogger("numclip_lightning.models.loading")
    before = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = before

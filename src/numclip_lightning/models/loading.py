"""Loading a CLIP model by name, with clear errors if it can't be built or filled.

open_clip continues with random weights if it finds none, and with the wrong activation if a tag was trained with
another one. Here both are errors.
"""

import logging
import pickle
import re
from contextlib import nullcontext
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
from open_clip import factory
from torch import nn

from numclip_lightning.errors import BackboneError
from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.downloads import short_message, tidy_log, without_retries
from numclip_lightning.models.feature_tower import FEATURES, FeatureTower
from numclip_lightning.models.image_tower import ImageTower
from numclip_lightning.models.normalization import disagreeing_tags, trained_normalization
from numclip_lightning.models.tokenizers import kept_tokenizer
from numclip_lightning.models.weights import FOLDER, HUB, MINI, find_weights

__all__ = ["Loaded", "load_clip", "load_image_tower", "load_model"]

_log = logging.getLogger(__name__)


def load_clip(backbone: str, pretrained: str | None = "auto") -> CLIPBackbone:
    """Load a CLIP model in float32, whatever the precision of its weights file.

    Args:
        backbone: An open_clip name (`ViT-B-16-quickgelu`), `local-dir:PATH` (a folder with `open_clip_config.json`,
            relative to the working directory), `hf-hub:ORGANISATION/REPOSITORY`, or `mini`, the small model that comes
            with this package (`models/mini/MODEL_CARD.md`).
        pretrained: A tag of that open_clip name (`openai`), a weights file, `"auto"` (the weights in the folder or
            repository that `backbone` names, or in the package), or None for random weights. `openai`, the default of
            methods, is `auto` for a folder and for `mini`.

    Returns:
        The model.

    Raises:
        BackboneError: If the model or its weights are unknown, missing, out of reach or don't fit together, or if its
            text tower can't take prompt embeddings.

    Example:
        >>> clip = load_clip("mini")
        >>> clip.embed_dim, clip.image_size
        (64, 64)
        >>> clip.encode_text(["many things", "a single thing"]).shape
        torch.Size([2, 64])
    """
    model, tokenizer, name = load_model(backbone, pretrained, words=True)
    return CLIPBackbone(model, tokenizer, name)


def load_image_tower(backbone: str, pretrained: str | None = "auto") -> ImageTower:
    """Load only the image tower of a CLIP model, for methods without language.

    Args:
        backbone: As for `load_clip`, and beyond them models whose text side takes no learned prompts, such as SigLIP's;
            or `features:512` for features of this size that the data bring.
        pretrained: As for `load_clip`.

    Returns:
        The image tower; the text tower is dropped.

    Raises:
        BackboneError: As for `load_clip`, but for the text tower.
    """
    if backbone.startswith(FEATURES):
        return FeatureTower.named(backbone)
    model, _, name = load_model(backbone, pretrained, words=False)
    return ImageTower.of(model, int(open_clip.get_model_config(name)["embed_dim"]), name)


class Loaded(NamedTuple):
    """A model of open_clip with its weights.

    Attributes:
        model: The model.
        tokenizer: Its tokenizer; None without words.
        name: Its name, as open_clip takes it.
    """

    model: nn.Module
    tokenizer: Any
    name: str


def load_model(backbone: str, pretrained: str | None, *, words: bool) -> Loaded:
    """Build a model of open_clip and fill it.

    Args:
        backbone: As for `load_clip`.
        pretrained: As for `load_clip`.
        words: Whether its text side is needed, and refused if it takes no learned prompts.

    Raises:
        BackboneError: As for `load_clip`.
    """
    if backbone.startswith(FEATURES):
        raise BackboneError(f"backbone={backbone!r} has no text tower; take a method without language, or a CLIP")
    if backbone == MINI:
        backbone = f"{FOLDER}{files('numclip_lightning.models') / MINI}"
    if not backbone.startswith((FOLDER, HUB)):
        backbone = backbone.replace("/", "-")  # open_clip knows OpenAI's spelling too: ViT-B/32
    weights = find_weights(backbone, pretrained, words=words)
    try:
        with tidy_log(), without_retries() if backbone.startswith(HUB) else nullcontext():
            model = factory.create_model(
                backbone,
                load_weights=False,
                pretrained_image=False,
                pretrained_text=False,
                force_preprocess_cfg=_normalized(backbone, pretrained),
            )
            tokenizer = _tokenizer(backbone) if words else None
    except Exception as error:  # a configuration can be wrong in any way
        raise BackboneError(
            f"backbone={backbone!r} can't be built: {short_message(error)}; correct its configuration or choose "
            "another model"
        ) from error
    if weights is None:
        _log.warning("backbone=%r starts from random weights, as `pretrained: null` asks", backbone)
    else:
        _fill(model, weights, backbone)
    return Loaded(model, tokenizer, backbone)


def _tokenizer(backbone: str) -> Any:
    """Build the tokenizer of a model; those of open_clip's own models and of `mini` are built once in a process."""
    own = backbone.startswith(FOLDER + str(files("numclip_lightning.models"))) or not backbone.startswith((FOLDER, HUB))
    return kept_tokenizer(backbone) if own else open_clip.get_tokenizer(backbone)


def _normalized(backbone: str, pretrained: str | None) -> dict[str, tuple[float, ...]] | None:
    """Return what images of these weights are normalised with; None leaves it to the model's configuration."""
    if found := trained_normalization(backbone, pretrained):
        return {"mean": found[0], "std": found[1]}
    if others := disagreeing_tags(backbone, pretrained):
        _log.warning(
            "pretrained=%r: images are normalised with CLIP's mean, as most weights of backbone=%r are; if the file is "
            "like its tag %s, put that name into the path of the file, or set data.normalize=half",
            pretrained, backbone, " or ".join(others),
        )  # fmt: skip
    return None


def _fill(model: nn.Module, weights: Path, backbone: str) -> None:
    """Load weights; none may be missing, unknown or of another shape."""
    try:
        with tidy_log():
            factory.load_checkpoint(model, str(weights), strict=True)
    # A broken file fails in many ways, by the library that reads it.
    except Exception as error:
        # PyTorch loads tensors and plain values alone: other objects could run code.
        objects = re.findall(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else []
        if objects:
            raise BackboneError(
                f"the weights in {weights} can't be loaded: the file also has objects "
                f"({', '.join(dict.fromkeys(objects))}) that are neither tensors nor plain numbers. If you trust the "
                "file, save the weights alone: "
                'torch.save(torch.load(FILE, weights_only=False)["state_dict"], NEW_FILE).'
            ) from error
        raise BackboneError(
            f"the weights in {weights} can't be loaded into backbone={backbone!r}: {short_message(error)}; check that "
            "the file is whole and was saved from this model"
        ) from error

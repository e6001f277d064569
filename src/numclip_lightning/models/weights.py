"""Where the weights of a CLIP model are: in a folder, in a repository of a hub, or by a name and a tag of open_clip."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
from open_clip import factory
from open_clip.pretrained import download_pretrained_from_hf

from numclip_lightning.errors import BackboneError, near_matches
from numclip_lightning.models.activations import QUICK_GELU, check_activation, suggest_tags
from numclip_lightning.models.downloads import fetching, tidy_log
from numclip_lightning.models.text_tower import unsupported_text
from numclip_lightning.plain import parse_json

__all__ = ["FOLDER", "HUB", "MINI", "check_text", "find_weights"]

MINI = "mini"
"""The name of the model in the package."""
FOLDER = "local-dir:"
"""What the name of a model in a folder begins with."""
HUB = "hf-hub:"
"""What the name of a model on the Hugging Face Hub begins with."""
# The default of methods: weights that no folder has.
_DEFAULT_TAG = "openai"


def find_weights(backbone: str, pretrained: str | None, *, words: bool) -> Path | None:
    """Find the weights of a model, or fetch them, before anything is built.

    Args:
        backbone: As open_clip takes it.
        pretrained: As for `load_clip`.
        words: Whether its text side is needed, and refused if it takes no learned prompts.

    Returns:
        The file; None for random weights.

    Raises:
        BackboneError: If the model or its weights are unknown, missing or out of reach, or the text side is refused.
    """
    if backbone.startswith(FOLDER):
        return _folder_weights(backbone, pretrained, words=words)
    if backbone.startswith(HUB):
        return _hub_weights(backbone, pretrained, words=words)
    return _named_weights(backbone, pretrained, words=words)


def _folder_weights(backbone: str, pretrained: str | None, *, words: bool) -> Path | None:
    """Check the folder of a `local-dir:` model and find its weights."""
    folder = Path(backbone.removeprefix(FOLDER))
    file = folder / "open_clip_config.json"
    if not folder.is_dir():
        raise BackboneError(f"backbone={backbone!r}: no folder {folder} in {Path.cwd()}; correct the path")
    if not file.is_file():
        raise BackboneError(
            f"backbone={backbone!r}: no {file.name} in that folder; give the folder of a saved open_clip model"
        )
    try:
        config = parse_json(file.read_text(encoding="utf-8"))["model_cfg"]
        check_text(backbone, config, words=words)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, BackboneError):
            raise
        raise BackboneError(f"{file} is no open_clip model configuration ({error!r}); save the model again") from error
    if pretrained is None:
        return None
    if pretrained == "auto" or (pretrained == _DEFAULT_TAG and not Path(pretrained).exists()):
        with tidy_log():
            found = factory._find_checkpoint_in_dir(folder)
        if found is None:
            raise BackboneError(
                f"backbone={backbone!r}: no weights (*.safetensors, *.bin, *.pth) in that folder; put them there, "
                "name a weights file as `pretrained`, or set `pretrained: null` for random weights"
            )
        return Path(found)
    if not Path(pretrained).is_file():
        raise BackboneError(
            f"pretrained={pretrained!r} is not a file, and a {FOLDER} model has no tags; give 'auto' (the weights in "
            "the folder), a weights file, or null (random weights)"
        )
    return Path(pretrained)


def _hub_weights(backbone: str, pretrained: str | None, *, words: bool) -> Path:
    """Fetch the weights of an `hf-hub:` model."""
    if pretrained != "auto":
        raise BackboneError(
            f"pretrained={pretrained!r}: backbone={backbone!r} brings its own weights; set `pretrained: auto`, or save "
            f"the model in a folder and name it as {FOLDER}PATH"
        )
    with fetching(f"backbone={backbone!r}"):
        config = open_clip.get_model_config(backbone)
    check_text(backbone, config, words=words)
    with fetching(f"backbone={backbone!r}"):
        return Path(download_pretrained_from_hf(backbone.removeprefix(HUB)))


def _named_weights(name: str, pretrained: str | None, *, words: bool) -> Path | None:
    """Find or fetch the weights of a model that open_clip knows by name."""
    config = open_clip.get_model_config(name)
    if config is None:
        near = near_matches(name, [MINI, *open_clip.list_models()])
        raise BackboneError(f"backbone={name!r} is not a model of open_clip{near}; name a folder as {FOLDER}PATH")
    check_text(name, config, words=words)
    if pretrained is None:
        return None
    if pretrained == "auto":
        raise BackboneError(
            f"pretrained='auto' finds weights in a folder, and backbone={name!r} is none; "
            f"{suggest_tags(name, config)}, or set `pretrained: null` for random weights"
        )
    tag = open_clip.get_pretrained_cfg(name, pretrained)
    if tag:
        check_activation(name, pretrained, config, tag)
        with fetching(f"pretrained={pretrained!r} of backbone={name!r}"):
            return Path(open_clip.download_pretrained(tag))
    if Path(pretrained).is_file():
        return Path(pretrained)
    plain = name.removesuffix(QUICK_GELU)
    if open_clip.is_pretrained_cfg(plain, pretrained):
        raise BackboneError(f"pretrained={pretrained!r} was trained without QuickGELU; use backbone={plain!r} with it")
    near = near_matches(pretrained, open_clip.list_pretrained_tags_by_model(name))
    raise BackboneError(
        f"pretrained={pretrained!r} is neither a tag of backbone={name!r} nor a file{near}; "
        f"{suggest_tags(name, config)}"
    )


def check_text(backbone: str, config: Mapping[str, Any], *, words: bool) -> None:
    """Raise BackboneError, before any download, for a text side that `TextTower` would refuse, or that can't be built.

    Without words, only what open_clip can't build or fill without the text side is refused.
    """
    text = config["text_cfg"]
    if "multimodal_cfg" in config:
        raise unsupported_text(backbone, "CoCa")
    if text.get("hf_model_name"):
        raise unsupported_text(backbone, "HFTextEncoder")
    if words and text.get("hf_tokenizer_name"):
        raise unsupported_text(backbone, "HFTokenizer")

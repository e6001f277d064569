"""Weights of other projects as a folder that `local-dir:...` reads: Long-CLIP, tuned image towers, plain CLIPs.

Sources: Zhang et al., "Long-CLIP", ECCV 2024 (arXiv 2403.15378), section 3.1; "un2CLIP", arXiv 2505.24517.
"""

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from numclip_lightning.errors import BackboneError, ConfigError
from numclip_lightning.models.loading import load_model
from numclip_lightning.models.normalization import trained_normalization

__all__ = ["convert_clip", "convert_longclip", "convert_tower", "stretch", "stretch_clip"]

State = dict[str, Tensor]

# Numbers that OpenAI's files have beside the weights.
_BESIDE = ("input_resolution", "context_length", "vocab_size")
# What FaRL's image tower has learned masked patches with, and no feature depends on.
_MASKED = re.compile(r"(?:visual\.)?(?:mask_token|(?:lm_transformer|lm_head|ln_lm)\..+)")
_POSITIONS = ("positional_embedding", "text.positional_embedding")
_LONG = "positional_embedding_res"
# Long-CLIP leaves the first 20 positions as they are, and puts three between each two of the others.
_KEPT, _FACTOR = 20, 4
# Long-CLIP's two sizes, by the width of the image tower.
_LONGCLIP = {768: "ViT-B-16-quickgelu", 1024: "ViT-L-14-quickgelu"}


def stretch(positions: Tensor, kept: int = _KEPT, factor: int = _FACTOR) -> Tensor:
    """Stretch text positions as Long-CLIP does: the first ones stay, the others are interpolated linearly.

    `N_j = P_j` for `j < kept`; else, with `u = kept + (j - kept) / factor` and `i = min(floor(u), T - 2)`,
    `N_j = P_i + (u - i) (P_{i+1} - P_i)`: the last `factor - 1` are extrapolated.

    Args:
        positions: P, (T, W).
        kept: How many stay.
        factor: How many of the new ones take the place of an old one behind them.

    Returns:
        N, (factor T - (factor - 1) kept, W).

    Raises:
        ConfigError: If there are no more positions than stay.

    Example:
        >>> stretch(torch.arange(4.0)[:, None], kept=2, factor=2).flatten()
        tensor([0.0000, 1.0000, 2.0000, 2.5000, 3.0000, 3.5000])
    """
    length = len(positions)
    if length <= kept + 1:
        raise ConfigError(f"the text tower has {length} positions, of which the first {kept} stay; nothing to stretch.")
    index = torch.arange(factor * length - (factor - 1) * kept)
    place = torch.where(index < kept, index.double(), kept + (index - kept).double() / factor)
    below = place.floor().long().clamp(max=length - 2)
    share = (place - below).to(positions.dtype)[:, None]
    found = positions[below] + share * (positions[below + 1] - positions[below])
    return torch.cat([positions[:kept], found[kept:]])


def convert_longclip(source: Path, output: Path, backbone: str | None = None) -> str:
    """Write the weights of Long-CLIP as a folder.

    Args:
        source: Their file (`longclip-B.pt`, `longclip-L.pt`).
        output: The folder to write.
        backbone: The model of open_clip that it was made from; None goes by the width of the image tower.

    Returns:
        What was written, in a line.

    Raises:
        BackboneError: If the file is none of Long-CLIP, or of another model.
    """
    state = read_state(source)
    if _LONG not in state:
        raise BackboneError(f"{source} has no {_LONG}, so that it is none of Long-CLIP; see numclip convert --help")
    width = state["visual.conv1.weight"].shape[0] if "visual.conv1.weight" in state else 0
    name = backbone or _LONGCLIP.get(width)
    if name is None:
        raise BackboneError(f"{source}: image towers {width} wide are not known; name the model with --backbone")
    longer = state.pop(_LONG)
    short = state["positional_embedding"]
    state["positional_embedding"] = torch.cat([short[:_KEPT], longer[_KEPT:]])
    return _write(name, state, output, {"context_length": len(longer)})


def convert_clip(source: Path, output: Path, backbone: str) -> str:
    """Write a whole CLIP in the names of OpenAI, such as FaRL's, as a folder; see `convert_longclip`.

    What FaRL has beside it, for the masked patches of its training, is left out.
    """
    return _write(backbone, read_state(source), output, {})


def convert_tower(source: Path, output: Path, backbone: str, pretrained: str | None) -> str:
    """Write a CLIP with the image tower of another file, such as un2CLIP's, as a folder.

    Args:
        source: The file: the weights of the image tower, with or without `visual.` before their names.
        output: The folder to write.
        backbone: The CLIP whose text tower is kept.
        pretrained: Its weights.

    Returns:
        What was written, in a line.

    Raises:
        BackboneError: If the file has more or other weights than the tower, or fewer.
    """
    found = read_state(source)
    text = [name for name in found if name.startswith(("transformer.resblocks", "text."))]
    if any(name.startswith("visual.") for name in found):
        found = {name: value for name, value in found.items() if name.startswith("visual.")}
    elif not text or "class_embedding" in found or "conv1.weight" in found:
        found = {f"visual.{name}": value for name, value in found.items()}
    model = load_model(backbone, pretrained, words=False).model
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("visual.")}
    return _write(backbone, {**state, **found}, output, {}, preprocess=open_clip.get_model_preprocess_cfg(model))


def stretch_clip(output: Path, backbone: str, pretrained: str | None) -> str:
    """Write a CLIP whose text tower reads longer prompts, untrained beyond what it read; see `stretch`.

    Args:
        output: The folder to write.
        backbone: The CLIP.
        pretrained: Its weights.

    Returns:
        What was written, in a line.
    """
    model = load_model(backbone, pretrained, words=True).model
    state: State = dict(model.state_dict())
    name = next(key for key in _POSITIONS if key in state)
    state[name] = stretch(state[name])
    length = {"context_length": len(state[name])}
    return _write(backbone, state, output, length, preprocess=open_clip.get_model_preprocess_cfg(model))


def read_state(source: Path) -> State:
    """Read the weights of a file, in float32: safetensors, or tensors that PyTorch has saved.

    Names lose what training programs put before them (`module.`, `model.`, `state_dict`); what is no part of a CLIP
    is left out.

    Raises:
        BackboneError: If the file is missing, or has more than tensors.
    """
    if not source.is_file():
        raise BackboneError(f"{source} is no file; give the weights")
    try:
        packed = source.suffix == ".safetensors"
        # Files of other projects are often saved on a GPU.
        found: Any = load_file(source) if packed else torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, OSError, EOFError) as error:
        raise BackboneError(
            f"{source} can't be read as tensors alone ({str(error).splitlines()[0]}); if you trust it, save its "
            "weights alone: of a module torch.save(torch.load(FILE, weights_only=False).state_dict(), NEW_FILE), of a "
            "checkpoint its entry 'state_dict'"
        ) from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not any(isinstance(value, Tensor) for value in found.values()):
        raise BackboneError(f"{source} has no weights by name; give a state_dict")
    tensors = {_bare(name): value for name, value in found.items() if isinstance(value, Tensor)}
    return {
        name: value.float() for name, value in tensors.items() if name not in _BESIDE and not _MASKED.fullmatch(name)
    }


def _bare(name: str) -> str:
    for prefix in ("module.", "model."):
        name = name.removeprefix(prefix)
    return name


def _write(
    backbone: str, state: State, output: Path, text: dict[str, Any], preprocess: Mapping[str, Any] | None = None
) -> str:
    """Check that weights fill a model, and write both.

    Args:
        backbone: The model.
        state: All its weights.
        output: The folder.
        text: What is other in its text tower.
        preprocess: What its images are made like; None takes what the backbone's tags have in common.
    """
    if (output / "open_clip_config.json").exists():
        raise ConfigError(f"{output} has a model already; give another folder.")
    config = open_clip.get_model_config(backbone)
    if config is None:
        raise BackboneError(f"backbone={backbone!r} is not a model of open_clip; see numclip convert --help")
    config = {**config, "text_cfg": {**config["text_cfg"], **text}}
    _require_fit(backbone, config, state)
    if preprocess is None:
        known = trained_normalization(backbone, None)
        preprocess = {"mean": known[0], "std": known[1]} if known else {}
    kept = {key: preprocess[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in preprocess}
    output.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in state.items()}, output / "open_clip_model.safetensors")
    written = {"model_cfg": config, "preprocess_cfg": kept}
    (output / "open_clip_config.json").write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    length = config["text_cfg"]["context_length"]
    return f"wrote {output}: {backbone}, prompts of {length} tokens; use it with --model.backbone=local-dir:{output}"


def _require_fit(backbone: str, config: Mapping[str, Any], state: State) -> None:
    """Raise BackboneError if any weight is missing, unknown or of another shape; nothing is written then."""
    # On no device: only names and shapes are looked at.
    with torch.device("meta"):
        kind = open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP
        arguments = {key: value for key, value in config.items() if key != "custom_text"}
        model: nn.Module = kind(**arguments)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    # A buffer that open_clip makes by itself.
    shapes.pop("attn_mask", None)
    wrong = {
        "are missing": sorted(shapes.keys() - given.keys()),
        "are not known": sorted(given.keys() - shapes.keys()),
        "have another shape": sorted(name for name in shapes.keys() & given.keys() if shapes[name] != given[name]),
    }
    found = [f"{len(names)} {what} (first {names[0]!r})" for what, names in wrong.items() if names]
    if found:
        raise BackboneError(f"the weights don't fit backbone={backbone!r}: {', '.join(found)}; name the model it is of")

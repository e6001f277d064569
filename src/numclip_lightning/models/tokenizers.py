"""Tokenizers of open_clip's own models, each built once in a process."""

import json
from collections.abc import Mapping
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

import open_clip
import open_clip.tokenizer

__all__ = ["kept_tokenizer"]

_FOLDER = "local-dir:"
# What in the text side of a model's configuration asks for more than CLIP's vocabulary and a length.
_OTHERS = ("hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs")


@lru_cache(maxsize=8)
def kept_tokenizer(backbone: str) -> Any:
    """Return the tokenizer of a model as `open_clip.get_tokenizer` does, without reading CLIP's vocabulary again.

    The 49,408 words take longer to read than the small CLIP. open_clip holds them already, in the tokenizer of its
    `tokenize`; nothing writes to them, so a copy with the length of the model shares them.

    Args:
        backbone: A name of open_clip, or `local-dir:` and a folder.
    """
    held: Any = getattr(open_clip.tokenizer, "_tokenizer", None)
    text = _text_side(backbone)
    if type(held) is not open_clip.SimpleTokenizer or "siglip" in backbone.lower() or any(text.get(k) for k in _OTHERS):
        return open_clip.get_tokenizer(backbone)
    tokenizer = copy(held)
    tokenizer.context_length = text.get("context_length", held.context_length)
    return tokenizer


def _text_side(backbone: str) -> Mapping[str, Any]:
    """Return the text side of a model's configuration."""
    if backbone.startswith(_FOLDER):
        file = Path(backbone.removeprefix(_FOLDER), "open_clip_config.json")
        config = json.loads(file.read_text(encoding="utf-8"))["model_cfg"]
    else:
        config = open_clip.get_model_config(backbone) or {}
    found: Mapping[str, Any] = config.get("text_cfg", {})
    return found

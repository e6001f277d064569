"""Small random CLIP models for tests, known to open_clip by name after `register_tiny_clips()`.

All take 32 x 32 pixels, have token embeddings of 32 numbers, features of 24 and CLIP's own vocabulary.

| name | model |
| --- | --- |
| `tiny-vit` | `CLIP`, ViT, 16 tokens |
| `tiny-resnet` | `CLIP`, ModifiedResNet, 16 tokens |
| `tiny-timm` | `CLIP`, an image tower of timm, 24 tokens |
| `tiny-custom` | `CustomTextCLIP`, causal, read at the end token by its id, biased projection, 16 tokens |
| `tiny-unprojected` | `CustomTextCLIP`, causal, features of 32 (no projection), logit scale of shape (1,), 16 tokens |
| `tiny-bidirectional` | `CustomTextCLIP`, not causal, read at the end token, 16 tokens |
| `tiny-last` | `CustomTextCLIP`, not causal, read at the last of 16 tokens, with a logit bias, as SigLIP |
| `tiny-first` | `CustomTextCLIP`, not causal, read at the first of 16 tokens |
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import open_clip

_VIT = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
_RESNET = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}
_TIMM = {"image_size": 32, "timm_model_name": "test_resnet", "timm_pool": "avg", "timm_proj": "linear"}
_TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2}


def _custom(text: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"embed_dim": 24, "custom_text": True, "vision_cfg": _VIT, "text_cfg": {**_TEXT, **text}, **rest}


TINY_CLIPS: dict[str, dict[str, Any]] = {
    "tiny-vit": {"embed_dim": 24, "vision_cfg": _VIT, "text_cfg": _TEXT},
    "tiny-resnet": {"embed_dim": 24, "vision_cfg": _RESNET, "text_cfg": _TEXT},
    "tiny-timm": {"embed_dim": 24, "vision_cfg": _TIMM, "text_cfg": {**_TEXT, "context_length": 24}},
    "tiny-custom": _custom({"pool_type": "eos", "eos_id": 49407, "proj_bias": True}),
    "tiny-unprojected": _custom({"proj_type": "none"}, embed_dim=32, nonscalar_logit_scale=True),
    "tiny-bidirectional": _custom({"no_causal_mask": True}),
    "tiny-last": _custom({"no_causal_mask": True, "pool_type": "last"}, init_logit_bias=-10),
    "tiny-first": _custom({"no_causal_mask": True, "pool_type": "first"}),
}


def register_tiny_clips() -> None:
    """Make the models above known to open_clip. Calling it again does nothing."""
    if set(TINY_CLIPS) <= set(open_clip.list_models()):
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, config in TINY_CLIPS.items():
            Path(folder, f"{name}.json").write_text(json.dumps(config), encoding="utf-8")
        open_clip.add_model_config(folder)

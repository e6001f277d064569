"""A saved tiny CLIP model, and a hub on this machine that serves it."""

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from huggingface_hub import constants as hub_constants
from safetensors.torch import save_file

from support.tiny_clip import TINY_CLIPS, register_tiny_clips

MEAN, STD = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
NO_ANSWER = "http://127.0.0.1:9"
"""An address that refuses every connection."""


def save_tiny_model(folder: Path) -> None:
    """Save `tiny-vit` with weights in half precision and a mean and deviation of its own."""
    register_tiny_clips()
    folder.mkdir()
    config = {"model_cfg": TINY_CLIPS["tiny-vit"], "preprocess_cfg": {"mean": MEAN, "std": STD}}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = {key: value.half() for key, value in open_clip.create_model("tiny-vit").state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")


def text_features(folder: Path) -> torch.Tensor:
    """Encode "a child" with a saved model, by open_clip alone."""
    model = open_clip.create_model(f"local-dir:{folder}")
    features: torch.Tensor = model.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(["a child"]))
    return features


def point_hub_to(address: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send the hub's client to another address, as `HF_ENDPOINT` does before it is imported."""
    monkeypatch.setattr(hub_constants, "ENDPOINT", address)
    files = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(hub_constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setattr(hub_constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", False)


class Hub(BaseHTTPRequestHandler):
    """The part of a model hub that its client uses: files under /some/model/resolve/main/."""

    def __init__(self, *args: Any, folder: Path) -> None:
        self.folder = folder
        super().__init__(*args)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        file = self.folder / Path(self.path).name
        known = self.path.startswith("/some/model/resolve/main/") and file.is_file()
        body = file.read_bytes() if known else b""
        found = known or (self.path == "/" and self.folder.is_dir())
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{file.name}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        if not found:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass

"""Models of a hub: fetched, found again without network, and refused at once if there is no answer."""

import functools
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants as hub_constants

from numclip_lightning.errors import BackboneError
from numclip_lightning.models import load_clip
from support.model_hub import MEAN, NO_ANSWER, Hub, point_hub_to, save_tiny_model, text_features


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved model with weights in half precision and its own mean and deviation."""
    save_tiny_model(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that refuses every connection, and an empty cache."""
    point_hub_to(NO_ANSWER, tmp_path / "cache", monkeypatch)


@pytest.mark.parametrize(("backbone", "pretrained"), [("ViT-B-16-quickgelu", "openai"), ("hf-hub:some/model", "auto")])
def test_without_network_the_error_comes_at_once_with_what_to_do(no_hub: None, backbone: str, pretrained: str) -> None:
    start = time.monotonic()
    message = (
        rf"backbone='{backbone}' could not be fetched from http://127.0.0.1:9: .*; without network, fetch the weights "
        r"on another machine and give the file as `pretrained`, or a saved model as backbone=local-dir:PATH"
    )
    with pytest.raises(BackboneError, match=message):
        load_clip(backbone, pretrained)
    assert time.monotonic() - start < 10
    assert hub_constants.HF_HUB_OFFLINE is False


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Hub, folder=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    point_hub_to(f"http://127.0.0.1:{server.server_port}", tmp_path / "cache", monkeypatch)
    yield
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_model_of_the_hub_is_fetched(hub: None, folder: Path) -> None:
    clip = load_clip("hf-hub:some/model")
    torch.testing.assert_close(clip.encode_text(["a child"]), text_features(folder), atol=1e-5, rtol=1e-5)
    assert clip.mean == tuple(MEAN)


def test_a_fetched_model_is_found_again_without_network(
    hub: None, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load_clip("hf-hub:some/model").encode_text(["a child"])
    point_hub_to(NO_ANSWER, tmp_path / "cache", monkeypatch)
    torch.testing.assert_close(load_clip("hf-hub:some/model").encode_text(["a child"]), expected)


def test_a_model_of_the_hub_without_weights_is_refused(hub: None, folder: Path) -> None:
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(BackboneError, match=r"could not be fetched from .*open_clip_pytorch_model.bin.*404"):
        load_clip("hf-hub:some/model")


def test_a_model_unknown_to_the_hub_is_refused(hub: None, folder: Path) -> None:
    shutil.rmtree(folder)
    with pytest.raises(BackboneError, match=r"could not be fetched from .*open_clip_config.json.*404"):
        load_clip("hf-hub:some/model")

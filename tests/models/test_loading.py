"""Loading by folder, file, tag and name; what does not fit is refused with the next step."""

import json
import logging
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip import pretrained as known_tags
from safetensors.torch import save_file

from numclip_lightning.errors import BackboneError
from numclip_lightning.models import load_clip
from support.model_hub import MEAN, NO_ANSWER, STD, point_hub_to, save_tiny_model, text_features
from support.places import SHARED
from support.tiny_clip import TINY_CLIPS, register_tiny_clips

register_tiny_clips()
FACE_CLIP = SHARED / "models" / "face-mini-clip"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved model with weights in half precision and its own mean and deviation."""
    save_tiny_model(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that refuses every connection, and an empty cache."""
    point_hub_to(NO_ANSWER, tmp_path / "cache", monkeypatch)


# What works


@pytest.mark.parametrize("pretrained", ["auto", "other.pt"])
def test_a_folder_or_a_file_gives_its_weights_in_float32(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pretrained: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = text_features(folder)
    monkeypatch.chdir(folder.parent)
    if pretrained != "auto":
        state = open_clip.create_model("local-dir:model").state_dict()
        torch.save({key: value.half() for key, value in state.items()}, pretrained)
        save_file(open_clip.create_model("tiny-vit").state_dict(), folder / "open_clip_model.safetensors")
    caplog.clear()
    clip = load_clip("local-dir:model", pretrained)
    torch.testing.assert_close(clip.encode_text(["a child"]), expected, atol=1e-5, rtol=1e-5)
    assert {parameter.dtype for parameter in clip.parameters()} == {torch.float32}
    assert clip.mean == tuple(MEAN)
    assert clip.std == tuple(STD)
    assert not caplog.records


def test_a_file_gives_the_weights_of_a_named_model(folder: Path) -> None:
    clip = load_clip("tiny-vit", str(folder / "open_clip_model.safetensors"))
    torch.testing.assert_close(clip.encode_text(["a child"]), text_features(folder), atol=1e-5, rtol=1e-5)


def test_a_tag_gives_its_weights_and_its_image_statistics(
    folder: Path, no_hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = {"file": str(folder / "open_clip_model.safetensors"), "mean": MEAN, "std": STD}
    monkeypatch.setitem(known_tags._PRETRAINED, "tiny-vit", {"small_tag": tag})
    clip = load_clip("tiny-vit", "small-tag")
    torch.testing.assert_close(clip.encode_text(["a child"]), text_features(folder), atol=1e-5, rtol=1e-5)
    assert clip.mean == tuple(MEAN)


def test_random_weights_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    handlers = list(logging.getLogger().handlers)
    load_clip("tiny-vit", None)
    (record,) = caplog.records
    assert record.getMessage() == "backbone='tiny-vit' starts from random weights, as `pretrained: null` asks"
    assert logging.getLogger().handlers == handlers


def test_the_root_logger_gets_no_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    load_clip("tiny-vit", None)
    assert logging.getLogger().handlers == []


def test_towers_of_timm_are_not_downloaded(folder: Path, no_hub: None) -> None:
    vision = {**TINY_CLIPS["tiny-timm"]["vision_cfg"], "timm_model_pretrained": True}
    config = {"model_cfg": {**TINY_CLIPS["tiny-timm"], "vision_cfg": vision}}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert load_clip(f"local-dir:{folder}", None).embed_dim == 24


@pytest.mark.skipif(not FACE_CLIP.is_dir(), reason="the shared face model is not here")
def test_the_shared_face_model_loads() -> None:
    clip = load_clip(f"local-dir:{FACE_CLIP}")
    assert (clip.embed_dim, clip.image_size, clip.context_length) == (128, 64, 24)
    texts = ["a photo of a child", "a photo of an old person."]
    theirs = open_clip.create_model(f"local-dir:{FACE_CLIP}")
    expected = theirs.encode_text(open_clip.get_tokenizer(f"local-dir:{FACE_CLIP}")(texts))
    torch.testing.assert_close(clip.encode_text(texts), expected, atol=1e-5, rtol=0)


# Names and tags


@pytest.mark.parametrize(
    ("backbone", "pretrained", "message"),
    [
        (
            "ViT-B16",
            None,
            r"'ViT-B16' is not a model of open_clip; did you mean 'ViT-B-16'.*name a folder as local-dir:PATH",
        ),
        (
            "tiny-vit",
            "auto",
            r"tags \(it has none\) or to a weights file, or set `pretrained: null` for random weights",
        ),
        ("ViT-B/16", "auto", r"backbone='ViT-B-16' is none; set `pretrained` to one of its tags \(laion400m_e31, "),
        (
            "ViT-B-16",
            "laion2b_s34b",
            r"neither a tag of backbone='ViT-B-16' nor a file; did you mean 'laion2b_s34b_b88k'",
        ),
        ("ViT-B-16", "missing/weights.pt", r"'missing/weights.pt' is neither a tag of backbone='ViT-B-16' nor a file"),
        (
            "ViT-B-16",
            "openai",
            r"was trained with QuickGELU, unlike backbone='ViT-B-16'; use backbone='ViT-B-16-quickgelu'",
        ),
        ("ViT-B-16-quickgelu", "laion400m_e32", r"was trained without QuickGELU; use backbone='ViT-B-16' with it"),
        ("roberta-ViT-B-32", "laion2b_s12b_b32k", "open_clip's HFTextEncoder"),
        ("coca_ViT-B-32", None, "open_clip's CoCa"),
        ("ViT-B-16-SigLIP", "webli", "open_clip's HFTokenizer"),
        ("hf-hub:some/model", "openai", r"backbone='hf-hub:some/model' brings its own weights; set `pretrained: auto`"),
        ("hf-hub:some/model", None, r"pretrained=None: .* brings its own weights"),
    ],
)
def test_names_that_cannot_be_loaded_are_refused(
    no_hub: None, backbone: str, pretrained: str | None, message: str
) -> None:
    with pytest.raises(BackboneError, match=message):
        load_clip(backbone, pretrained)


def test_tags_of_the_other_activation_are_refused_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(known_tags._PRETRAINED, "ViT-B-16-quickgelu", {"plain": {"quick_gelu": False, "url": "x"}})
    with pytest.raises(BackboneError, match=r"was trained without QuickGELU, unlike .*; use backbone='ViT-B-16'"):
        load_clip("ViT-B-16-quickgelu", "plain")
    monkeypatch.setitem(known_tags._PRETRAINED, "tiny-vit", {"quick": {"quick_gelu": True, "url": "x"}})
    with pytest.raises(BackboneError, match=r"was trained with QuickGELU, unlike .*; use another tag"):
        load_clip("tiny-vit", "quick")


def test_only_fitting_tags_are_offered() -> None:
    with pytest.raises(BackboneError, match="tags") as caught:
        load_clip("ViT-B-16", "auto")
    assert "laion2b_s34b_b88k" in str(caught.value)
    assert "openai" not in str(caught.value)


# Folders and files


def test_folders_that_cannot_be_loaded_are_refused(folder: Path) -> None:
    def refused(message: str, pretrained: str | None = "auto", path: Path = folder) -> None:
        with pytest.raises(BackboneError, match=message):
            load_clip(f"local-dir:{path}", pretrained)

    refused("no folder .*nowhere in .*; correct the path", path=folder / "nowhere")
    refused("pretrained='laion2b' is not a file, and a local-dir: model has no tags; give 'auto'", "laion2b")
    (folder / "open_clip_model.safetensors").unlink()
    refused(r"no weights \(\*.safetensors, .*\) in that folder; .* or set `pretrained: null` for random weights")
    config = folder / "open_clip_config.json"
    for text in ("{", "{}", "[]", '{"model_cfg": {}}', '{"model_cfg": {"text_cfg": 1}}'):
        config.write_text(text, encoding="utf-8")
        refused("open_clip_config.json is no open_clip model configuration .*; save the model again", None)
    config.write_text(json.dumps({"model_cfg": {**TINY_CLIPS["tiny-vit"], "depth": 3}}), encoding="utf-8")
    refused("can't be built: TypeError: .*'depth'.*; correct its configuration", None)
    config.write_text(json.dumps({"model_cfg": {**TINY_CLIPS["tiny-vit"], "multimodal_cfg": {}}}), encoding="utf-8")
    refused("open_clip's CoCa", None)
    config.unlink()
    refused("no open_clip_config.json in that folder")


def test_weights_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    state = open_clip.create_model("tiny-vit").state_dict()
    file = tmp_path / "weights.pt"

    def refused(reason: str) -> None:
        with pytest.raises(
            BackboneError, match=f"weights.pt can't be loaded into backbone='tiny-vit': {reason}.*check"
        ):
            load_clip("tiny-vit", str(file))

    torch.save({key: value for key, value in state.items() if key != "ln_final.bias"}, file)
    refused(r"RuntimeError: .*Missing key\(s\) in state_dict: \"ln_final.bias\"")
    torch.save({**state, "text_projection": torch.zeros(32, 25)}, file)
    refused("RuntimeError: .*size mismatch for text_projection")
    torch.save({**state, "positional_embedding": torch.zeros(16, 31)}, file)
    refused("AssertionError: text pos_embed width changed")
    torch.save({}, file)
    refused("StopIteration")
    file.write_bytes(b"not weights")
    refused("UnpicklingError")
    file.write_bytes(b"")
    refused("EOFError")
    broken = folder / "open_clip_model.safetensors"
    broken.write_bytes(broken.read_bytes()[:1000])
    with pytest.raises(BackboneError, match=r"open_clip_model.safetensors can't be loaded .* file is whole"):
        load_clip(f"local-dir:{folder}")


def test_objects_in_a_weights_file_are_named_with_what_to_do(folder: Path, tmp_path: Path) -> None:
    model = load_clip(f"local-dir:{folder}")
    torch.save({"state_dict": model.state_dict(), "best_mae": np.float64(3.2)}, tmp_path / "tuned.pt")
    with pytest.raises(BackboneError, match=r"objects \(numpy\S*scalar\) .* save the weights alone"):
        load_clip(f"local-dir:{folder}", str(tmp_path / "tuned.pt"))

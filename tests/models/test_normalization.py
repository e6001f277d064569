"""Images are normalised as the weights were trained, whether these come by a tag, as a file or not at all."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip import pretrained as known_tags

from numclip_lightning.errors import BackboneError
from numclip_lightning.methods import CosineClassifier
from numclip_lightning.models import load_clip, load_image_tower
from numclip_lightning.models.normalization import trained_normalization
from support.model_hub import MEAN, STD
from support.tiny_clip import TINY_CLIPS, register_tiny_clips
from support.tiny_fit import SCALE

register_tiny_clips()
OTHER = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "weights.pt"
    torch.save(open_clip.create_model("tiny-vit").state_dict(), file)
    return file


def test_a_file_and_random_weights_are_read_as_all_tags_of_the_backbone_are(
    weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tag = {"file": str(weights), "mean": MEAN, "std": STD}
    monkeypatch.setitem(known_tags._PRETRAINED, "tiny-vit", {"first": tag, "second": tag})
    for pretrained in ("first", str(weights), None):
        tower = load_image_tower("tiny-vit", pretrained)
        assert (tower.mean, tower.std) == (tuple(MEAN), tuple(STD))
    assert CosineClassifier(scale=SCALE, backbone="tiny-vit", pretrained=str(weights)).clip.mean == tuple(MEAN)
    assert not [record for record in caplog.records if "normalised" in record.getMessage()]


def test_where_tags_disagree_the_path_decides_and_nothing_is_guessed_in_silence(
    weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usual = {"mean": MEAN, "std": STD}
    monkeypatch.setitem(known_tags._PRETRAINED, "tiny-vit", {"one": usual, "two": usual, "laion2b_s32b": OTHER})
    named = weights.with_name("CLIP-laion2B-s32B.bin")
    named.write_bytes(weights.read_bytes())
    assert load_clip("tiny-vit", str(named)).mean == (0.5, 0.5, 0.5)
    assert not caplog.records
    assert load_clip("tiny-vit", str(weights)).mean == open_clip.OPENAI_DATASET_MEAN
    (record,) = caplog.records
    assert "if the file is like its tag laion2b_s32b, put that name into the path" in record.getMessage()


@pytest.mark.parametrize(
    ("backbone", "file", "expected"),
    [
        ("MobileCLIP-S1", "mobileclip_s1.pt", (0.0, 0.0, 0.0)),
        ("MobileCLIP2-S4", "mobileclip2_s4.pt", open_clip.OPENAI_DATASET_MEAN),
        ("ViT-B-16-SigLIP", "siglip.bin", (0.5, 0.5, 0.5)),
        ("ViT-L-14", "hub/CLIP-ViT-L-14-laion2B-s32B-b82K/open_clip_pytorch_model.bin", (0.5, 0.5, 0.5)),
        ("ViT-L-14", "hub/CLIP-ViT-L-14-DataComp.XL-s13B-b90K/pytorch.bin", open_clip.OPENAI_DATASET_MEAN),
    ],
)
def test_of_models_that_open_clip_knows(backbone: str, file: str, expected: tuple[float, ...]) -> None:
    found = trained_normalization(backbone, file)
    assert found is not None
    assert found[0] == expected
    assert trained_normalization("local-dir:anywhere", file) is None


def test_methods_without_language_take_towers_whose_words_they_do_not_need(tmp_path: Path) -> None:
    text = {**TINY_CLIPS["tiny-last"]["text_cfg"], "hf_tokenizer_name": "some/tokenizer-that-nobody-has"}
    config = {"model_cfg": {**TINY_CLIPS["tiny-last"], "text_cfg": text}, "preprocess_cfg": OTHER}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    method = CosineClassifier(scale=SCALE, backbone=f"local-dir:{tmp_path}", pretrained=None)
    assert (method.clip.mean, method.clip.embed_dim) == ((0.5, 0.5, 0.5), 24)
    assert method(torch.zeros(2, 3, 32, 32)).value.shape == (2,)
    with pytest.raises(BackboneError, match="HFTokenizer, which can't take learned prompt"):
        load_clip(f"local-dir:{tmp_path}", None)
    config["model_cfg"]["text_cfg"] = {**text, "hf_model_name": "roberta-base"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(BackboneError, match="HFTextEncoder"):
        load_image_tower(f"local-dir:{tmp_path}", None)

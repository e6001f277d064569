"""The small CLIP that comes with the package: its files, and what it can and can't do."""

import json
import logging
import random
from importlib.resources import files
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open

from measure_mini import TEMPLATES, scenes, zero_shot
from numclip_lightning.data.counting.captions import QUANTITIES, caption, phrases
from numclip_lightning.data.counting.scenes import draw_counts, make_scenes
from numclip_lightning.errors import BackboneError
from numclip_lightning.models import load_clip
from numclip_lightning.scale import OrdinalScale
from support.places import CONFIGS

FOLDER = Path(str(files("numclip_lightning.models"))) / "mini"
CONFIG = CONFIGS / "counting.yaml"


def test_the_mini_model_is_small_and_in_half_precision() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 12_000_000
    with safe_open(FOLDER / "open_clip_model.safetensors", "pt") as weights:
        kinds = {weights.get_slice(key).get_dtype() for key in weights.keys()}  # noqa: SIM118
    assert kinds <= {"F16", "I64"}


def test_the_mini_model_loads_like_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clip = load_clip("mini")
    assert (clip.image_size, clip.context_length) == (64, 32)
    assert {parameter.dtype for parameter in clip.parameters()} == {torch.float32}
    same = load_clip(f"local-dir:{FOLDER}")
    torch.testing.assert_close(clip.encode_text(phrases()), same.encode_text(phrases()))
    file = load_clip("mini", str(FOLDER / "open_clip_model.safetensors"))
    torch.testing.assert_close(clip.encode_text(phrases()), file.encode_text(phrases()))


def test_every_caption_of_its_training_fits_its_context() -> None:
    rng, counts = random.Random(0), draw_counts(0, "pretrain", 500)
    facts = [scene.facts for scene in make_scenes(0, "pretrain", range(500), counts)]
    clip = load_clip("mini", None)
    tokens = clip.tokenize([caption(fact, rng) for fact in facts for _ in range(10)])
    assert max(map(len, tokens)) + 2 <= clip.context_length


def test_random_weights_on_request(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    untrained = load_clip("mini", None)
    assert "starts from random weights" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        trained = load_clip("mini")
    assert not caplog.records
    assert not torch.allclose(untrained.encode_text(phrases()), trained.encode_text(phrases()), atol=0.1)


def test_the_default_tag_of_methods_takes_its_own_weights() -> None:
    assert torch.equal(load_clip("mini", "openai").encode_text(phrases()), load_clip("mini").encode_text(phrases()))


def test_what_cannot_be_loaded_is_refused() -> None:
    with pytest.raises(BackboneError, match=r"pretrained='laion2b' is not a file, .* give 'auto'"):
        load_clip("mini", "laion2b")
    with pytest.raises(BackboneError, match="'minni' is not a model of open_clip; did you mean 'mini'"):
        load_clip("minni")


def test_the_mini_model_knows_quantity_words_and_no_numbers() -> None:
    """On fresh scenes: three in four phrases are right, and its numbers are no better than the median of the counts."""
    pixels, counts = scenes(2024, 1200)
    figures = zero_shot(load_clip("mini"), pixels, counts)
    assert figures["accuracy"] >= 0.75
    assert figures["within one"] >= 0.97
    for template in TEMPLATES:
        assert figures[f"MAE of '{template.format('N things')}'"] > figures["MAE of the median"]


def test_its_words_for_numbers_were_never_trained() -> None:
    """Digits keep the spread of the vocabulary that no caption has; the words of captions have moved."""
    clip = load_clip("mini")
    table = clip.text.token_embedding.weight.detach()

    def spread(texts: list[str]) -> float:
        ids = [token for ids in clip.tokenize(texts) for token in ids]
        return table[ids].std().item()

    unseen = spread(["giraffe", "violin", "democracy", "teapot", "parliament", "quantum"])
    assert spread([str(n) for n in range(3, 61)]) == pytest.approx(unseen, rel=0.1)
    assert spread(phrases()) > 1.5 * unseen


def test_the_config_has_the_words_it_was_trained_on() -> None:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["model"]["init_args"]
    scale = OrdinalScale(**config["scale"])
    assert scale.phrases == phrases()
    assert scale.lower.tolist() == [start for start, _ in QUANTITIES]
    assert scale.template == TEMPLATES[0]
    assert config["backbone"] == "mini"


def test_the_model_card_has_its_facts() -> None:
    card = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    for word in ("Data", "Recipe", "Seed", "Time", "can do", "cannot do", "make mini", "MIT"):
        assert word in card
    assert json.loads((FOLDER / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]

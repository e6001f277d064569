"""Tokenizers of open_clip's own models: those that open_clip builds, with a vocabulary that is read once."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import open_clip
import pytest

from numclip_lightning.models.tokenizers import kept_tokenizer
from support.tiny_clip import TINY_CLIPS

MINI = f"local-dir:{files('numclip_lightning.models') / 'mini'}"
TEXTS = ["A photo of a 65-year-old;  naïve &amp; smiling!", "", "数 10", "word " * 100]


@pytest.fixture
def other_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model whose tokenizer keeps no punctuation, which CLIP's own does."""
    config: dict[str, Any] = {**TINY_CLIPS["tiny-vit"]}
    config["text_cfg"] = {**config["text_cfg"], "tokenizer_kwargs": {"clean": "canonicalize"}, "context_length": 9}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "other-words", config)
    return "other-words"


def same(found: Any, expected: Any) -> bool:
    return bool(
        type(found) is type(expected)
        and found.context_length == expected.context_length
        and found(TEXTS).equal(expected(TEXTS))
        and [found.encode(text) for text in TEXTS] == [expected.encode(text) for text in TEXTS]
        and found.decoder == expected.decoder
    )


@pytest.mark.parametrize("name", [MINI, "ViT-B-32", "coca_ViT-B-32"])
def test_a_tokenizer_is_that_of_open_clip(name: str) -> None:
    assert same(kept_tokenizer(name), open_clip.get_tokenizer(name))
    # That of open_clip itself keeps its length.
    assert open_clip.tokenize(TEXTS).shape == (4, 77)


def test_a_model_with_a_tokenizer_of_its_own_gets_that(other_words: str) -> None:
    found = kept_tokenizer(other_words)
    assert same(found, open_clip.get_tokenizer(other_words))
    assert found(["so!"]).equal(found(["so"]))
    assert not kept_tokenizer(MINI)(["so!"]).equal(kept_tokenizer(MINI)(["so"]))

"""docs/imbalance.md: every command can be parsed, and every argument that it names exists."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from numclip_lightning.data.base.oversampling import OversampleSpec
from numclip_lightning.methods.base import ImbalanceSpec, MixSpec, UntrainedMethod
from numclip_lightning.runs.command import NumClipCLI
from support.pages import commands
from support.places import REPOSITORY
from support.tiny_fit import LEARNING

PAGE = (REPOSITORY / "docs" / "imbalance.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", commands(PAGE), ids=shlex.join)
def test_a_command_can_be_parsed(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    assert NumClipCLI(words, until="parsed").verb == "fit"


@pytest.mark.parametrize("spec", [ImbalanceSpec, MixSpec, OversampleSpec])
def test_every_argument_is_explained(spec: type) -> None:
    named = set(re.findall(r"[a-z_]+", PAGE))
    assert [argument.name for argument in fields(spec) if argument.name not in named] == []


def test_the_methods_that_refuse_logit_adjustment_are_named() -> None:
    (section,) = re.findall(r"## Logit adjustment\n(.*?)\n## ", PAGE, re.DOTALL)
    trained = {kind.__name__: kind.adjusts_logits for kind in LEARNING if not issubclass(kind, UntrainedMethod)}
    named = set(re.findall(r"`(\w+)`", section)) & trained.keys()
    assert named == {name for name, adjusts in trained.items() if not adjusts}

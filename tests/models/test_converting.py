"""Weights of other projects become a backbone: names mapped, nothing missing or left, and the same features."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.cli import main
from numclip_lightning.errors import BackboneError, ConfigError
from numclip_lightning.models import load_clip
from numclip_lightning.models.converting import convert_clip, convert_longclip, convert_tower, stretch, stretch_clip
from support.command import failure
from support.tiny_clip import register_tiny_clips

register_tiny_clips()
TEXTS = ["a few things", "grade 3: many things in each quadrant"]


def saved(name: str, folder: Path) -> Path:
    folder.mkdir()
    file = folder / "weights.pt"
    torch.save(open_clip.create_model(name).state_dict(), file)
    return file


def as_longclip(source: Path, output: Path) -> dict[str, Tensor]:
    """What Long-CLIP makes of a CLIP: positions that rest, and longer ones beside them, in half precision."""
    state: dict[str, Tensor] = torch.load(source, weights_only=True)
    longer = stretch(state["positional_embedding"])
    made = {**state, "positional_embedding": longer, "positional_embedding_res": longer + 0.01}
    torch.save({name: value.half() for name, value in made.items()}, output)
    return state


def test_stretching_is_long_clip_s_loop() -> None:
    torch.manual_seed(0)
    positions = torch.randn(77, 5, dtype=torch.float64)
    found = stretch(positions)
    expected = torch.zeros(248, 5, dtype=torch.float64)
    for i in range(20):
        expected[i] = positions[i]
    for i in range(57 - 1):
        for j in range(4):
            expected[4 * i + 20 + j] = (1 - j / 4) * positions[i + 20] + j / 4 * positions[i + 21]
    for j in range(4):
        expected[244 + j] = positions[76] + j / 4 * (positions[76] - positions[75])
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(found[20::4], positions[20:], atol=1e-12, rtol=0)
    with pytest.raises(ConfigError, match="has 16 positions, of which the first 20 stay"):
        stretch(torch.zeros(16, 3))


def test_an_untrained_stretch_reads_short_texts_as_before_and_longer_ones_too(tmp_path: Path) -> None:
    source = saved("tiny-timm", tmp_path / "in")
    stretch_clip(tmp_path / "out", "tiny-timm", str(source))
    before, after = load_clip("tiny-timm", str(source)), load_clip(f"local-dir:{tmp_path / 'out'}")
    assert (before.context_length, after.context_length) == (24, 36)
    assert torch.equal(after.encode_text(TEXTS), before.encode_text(TEXTS))
    long = "a very long rubric that goes on and on " * 3
    with pytest.raises(ConfigError, match="the backbone reads at most 22"):
        before.encode_text([long])
    assert torch.isfinite(after.encode_text([long])).all()
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(after.eval().encode_image(images), before.eval().encode_image(images))


def test_long_clip_keeps_its_first_positions_and_takes_its_own_for_the_rest(tmp_path: Path) -> None:
    source = saved("tiny-timm", tmp_path / "in")
    state = as_longclip(source, tmp_path / "longclip.pt")
    said = convert_longclip(tmp_path / "longclip.pt", tmp_path / "out", "tiny-timm")
    assert "prompts of 36 tokens" in said
    clip = load_clip(f"local-dir:{tmp_path / 'out'}")
    positions, longer = clip.text.positional_embedding, stretch(state["positional_embedding"])
    torch.testing.assert_close(positions[:20], longer[:20], atol=1e-3, rtol=0)
    torch.testing.assert_close(positions[20:], longer[20:] + 0.01, atol=1e-3, rtol=0)
    assert {parameter.dtype for parameter in clip.parameters()} == {torch.float32}
    with pytest.raises(BackboneError, match="has no positional_embedding_res, so that it is none of Long-CLIP"):
        convert_longclip(source, tmp_path / "other", "tiny-timm")
    with pytest.raises(BackboneError, match="image towers 0 wide are not known; name the model with --backbone"):
        convert_longclip(tmp_path / "longclip.pt", tmp_path / "other")


@pytest.mark.parametrize("prefix", ["", "visual.", "module.visual."])
def test_a_tuned_image_tower_takes_the_place_of_another(tmp_path: Path, prefix: str) -> None:
    base, other = saved("tiny-vit", tmp_path / "base"), saved("tiny-vit", tmp_path / "other")
    tower = {
        prefix + name.removeprefix("visual."): value
        for name, value in torch.load(other, weights_only=True).items()
        if name.startswith("visual.")
    }
    torch.save(tower, tmp_path / "tower.pt")
    convert_tower(tmp_path / "tower.pt", tmp_path / "out", "tiny-vit", str(base))
    found, first, second = (
        load_clip(*names).eval()
        for names in ((f"local-dir:{tmp_path / 'out'}",), ("tiny-vit", str(base)), ("tiny-vit", str(other)))
    )
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(found.encode_text(TEXTS), first.encode_text(TEXTS))
    assert torch.equal(found.encode_image(images), second.encode_image(images))
    assert F.cosine_similarity(found.encode_image(images), first.encode_image(images)).min() < 0.999
    del tower[f"{prefix}ln_pre.bias"]
    tower[f"{prefix}more"] = torch.zeros(1)
    torch.save(tower, tmp_path / "tower.pt")
    with pytest.raises(BackboneError, match=r"1 are missing \(first 'visual.ln_pre.bias'\), 1 are not known"):
        convert_tower(tmp_path / "tower.pt", tmp_path / "new", "tiny-vit", str(base))
    assert not (tmp_path / "new").exists()


def test_a_whole_clip_loses_what_training_programs_put_before_its_names(tmp_path: Path) -> None:
    source = saved("tiny-vit", tmp_path / "in")
    state = {f"module.{name}": value for name, value in torch.load(source, weights_only=True).items()}
    torch.save({"state_dict": {**state, "input_resolution": torch.tensor(32)}, "epoch": 3}, tmp_path / "whole.pth")
    convert_clip(tmp_path / "whole.pth", tmp_path / "out", "tiny-vit")
    found, expected = load_clip(f"local-dir:{tmp_path / 'out'}"), load_clip("tiny-vit", str(source))
    assert torch.equal(found.encode_text(TEXTS), expected.encode_text(TEXTS))
    with pytest.raises(ConfigError, match="out has a model already; give another folder"):
        convert_clip(tmp_path / "whole.pth", tmp_path / "out", "tiny-vit")
    with pytest.raises(BackboneError, match=r"30 are missing .*, 29 are not known"):
        convert_clip(tmp_path / "whole.pth", tmp_path / "new", "tiny-custom")


def test_what_farl_has_learned_masked_patches_with_is_left_out(tmp_path: Path) -> None:
    """The names beside a CLIP's are those that readers of its published file leave out."""
    source = saved("tiny-vit", tmp_path / "in")
    plain = torch.load(source, weights_only=True)
    beside = ("mask_token", "lm_transformer.resblocks.0.ln_1.weight", "lm_head.weight", "lm_head.bias", "ln_lm.weight")
    farl = {**plain, **{f"visual.{name}": torch.zeros(3) for name in beside}}
    torch.save({"state_dict": farl}, tmp_path / "farl.pth")
    images = torch.randn(2, 3, 32, 32)
    expected = load_clip("tiny-vit", str(source)).eval().encode_image(images)
    convert_clip(tmp_path / "farl.pth", tmp_path / "whole", "tiny-vit")
    convert_tower(tmp_path / "farl.pth", tmp_path / "tower", "tiny-vit", str(source))
    for folder in ("whole", "tower"):
        assert torch.equal(load_clip(f"local-dir:{tmp_path / folder}").eval().encode_image(images), expected)
    torch.save({**farl, "visual.lm_top.weight": torch.zeros(3)}, tmp_path / "farl.pth")
    with pytest.raises(BackboneError, match=r"1 are not known \(first 'visual.lm_top.weight'\)"):
        convert_clip(tmp_path / "farl.pth", tmp_path / "other", "tiny-vit")


def test_the_command_says_what_it_wrote_and_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = saved("tiny-vit", tmp_path / "in")
    words = ["convert", "--kind=clip", f"--input={source}", f"--output={tmp_path / 'out'}", "--backbone=tiny-vit"]
    assert main(words) == 0
    assert f"use it with --model.backbone=local-dir:{tmp_path / 'out'}" in capsys.readouterr().out
    config = json.loads((tmp_path / "out" / "open_clip_config.json").read_text(encoding="utf-8"))
    assert config["model_cfg"]["text_cfg"]["context_length"] == 16
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    for wrong, message in (
        (["--kind=clip", "--output=x", "--backbone=tiny-vit"], "--kind=clip needs --input, the file with the weights"),
        (["--kind=stretch", "--input=x", "--output=x", "--backbone=tiny-vit"], "--kind=stretch takes no --input"),
        (["--kind=tower", "--input=x", "--output=x"], "--kind=tower needs --backbone, such as ViT-L-14-quickgelu"),
        (["--kind=clip", "--input=nowhere.pt", "--output=x", "--backbone=tiny-vit"], "nowhere.pt is no file"),
        (["--kind=clip", f"--input={tmp_path / 'broken.pt'}", "--output=x", "--backbone=tiny-vit"], "can't be read as"),
        (["--kind=clip", f"--input={source}", "--output=x", "--backbone=tiny-vat"], "is not a model of open_clip"),
    ):
        assert failure("convert", *wrong) == 2
        assert message in capsys.readouterr().err

"""Scales of very many values, such as dollars: refused in words where a method has an output for each."""

from pathlib import Path

import pytest
import yaml

from numclip_lightning import methods
from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.many_values import MOST_VALUES, coarser_step
from numclip_lightning.scale import OrdinalScale
from support.places import REPOSITORY

DOLLARS = {
    "minimum": 100_000,
    "maximum": 4_000_000,
    "unit": "dollars",
    "template": "a {} house.",
    "levels": [{"phrase": "cheap", "start": 100_000}, {"phrase": "expensive", "start": 1_500_000}],
}
# They read a number from the levels, or have one output.
FEW = {
    "AntonymScale", "CLIPDR", "CLIPEBC", "CLIPN", "L1Regression", "NumCLIP", "RankAxis", "RankingAwareCLIP",
    "ZeroShotCLIP",
}  # fmt: skip


def overlays() -> list[Path]:
    return sorted((REPOSITORY / "configs" / "methods").glob("*.yaml"))


@pytest.mark.parametrize("overlay", overlays(), ids=lambda path: path.stem)
def test_every_method_is_built_or_names_the_step(overlay: Path) -> None:
    model = yaml.safe_load(overlay.read_text(encoding="utf-8"))["model"]
    build = getattr(methods, model["class_path"])
    arguments = {"pretrained": None, **model.get("init_args", {}), "backbone": "mini", "scale": DOLLARS}
    if model["class_path"] in FEW:
        build(**arguments)
        return
    with pytest.raises(ConfigError, match=r"has 3,900,001 values, and .* set scale\.step to 5000 "):
        build(**arguments)
    build(**{**arguments, "scale": {**DOLLARS, "step": 50_000}})


@pytest.mark.parametrize(
    ("scale", "step"),
    [
        (OrdinalScale(0, 2000, step=0.01, levels=[{"phrase": "a", "start": 0}, {"phrase": "b", "start": 100}]), 2.0),
        (OrdinalScale(0, 1e6 + 7, levels=[{"phrase": "a", "start": 0}, {"phrase": "b", "start": 3}]), None),
    ],
)
def test_the_step_keeps_levels_and_maximum(scale: OrdinalScale, step: float | None) -> None:
    assert scale.num_ranks > MOST_VALUES
    assert coarser_step(scale) == step
    if step:
        assert OrdinalScale(scale.minimum, scale.maximum, step=step, levels=scale.levels).num_ranks <= 1001

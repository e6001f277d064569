"""Scales of very many values, such as dollars: refused in words where a method has an output for each."""

import math
import resource
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml

from numclip_lightning import methods
from numclip_lightning.errors import ConfigError
from numclip_lightning.losses import fcrc_image_to_text, smooth_ranks, soft_labels, soft_vote_loss
from numclip_lightning.methods.base.many_values import MOST_VALUES, coarser_step
from numclip_lightning.models.cache import soft_values
from numclip_lightning.scale import OrdinalScale
from support.places import REPOSITORY
from support.tiny_fit import loader, quiet_trainer

DOLLARS = {
    "minimum": 100_000,
    "maximum": 4_000_000,
    "unit": "dollars",
    "template": "a {} house.",
    "levels": [{"phrase": "cheap", "start": 100_000}, {"phrase": "expensive", "start": 1_500_000}],
}
# They read a number from the levels, or have one output.
FEW = {
    "AnomalyCLIP", "AntonymScale", "CLIPDR", "CLIPEBC", "CLIPEBCBlocks", "CLIPN", "L1Regression", "NumCLIP", "RankAxis",
    "RankingAwareCLIP", "YearCLIP", "ZeroShotCLIP", "ZIP",
}  # fmt: skip


def overlays() -> list[Path]:
    return sorted((REPOSITORY / "configs" / "methods").glob("*.yaml"))


@pytest.mark.parametrize("overlay", overlays(), ids=lambda path: path.stem)
def test_every_method_is_built_or_names_the_step(overlay: Path) -> None:
    model = yaml.safe_load(overlay.read_text(encoding="utf-8"))["model"]
    build = getattr(methods, model["class_path"])
    arguments = {"pretrained": None, **model.get("init_args", {}), "backbone": "mini", "scale": DOLLARS}
    if model["class_path"] in FEW or arguments.get("names") == "phrases":
        build(**arguments)
        return
    with pytest.raises(ConfigError, match=r"has 3,900,001 values, and .* set scale\.step to 5000 "):
        build(**arguments)
    build(**{**arguments, "scale": {**DOLLARS, "step": 50_000}})


def test_a_logarithmic_scale_is_advised_where_it_fits() -> None:
    arguments = {"backbone": "mini", "pretrained": None, "scale": DOLLARS}
    with pytest.raises(ConfigError, match=r"or set scale\.spacing=log and scale\.step=1\.01 for values"):
        methods.SORD(**arguments)
    assert methods.SORD(**{**arguments, "scale": {**DOLLARS, "spacing": "log", "step": 1.01}}).num_classes == 372
    with pytest.raises(ConfigError, match=r"set scale\.step to 1\.005 "):
        methods.SORD(**{**arguments, "scale": {**DOLLARS, "spacing": "log", "step": 1.0001}})


@pytest.mark.parametrize("kind", ["NumCLIP", "L1Regression", "ZeroShotCLIP", "CLIPEBC", "RankAxis"])
def test_a_level_for_each_of_very_many_values_is_refused(kind: str) -> None:
    scale = {"minimum": 0, "maximum": 50_000}
    with pytest.raises(ConfigError, match=r"has 50,001 levels.*give scale\.levels a few phrases"):
        getattr(methods, kind)(backbone="mini", pretrained=None, scale=scale)


def test_no_table_of_all_values_by_all_values_is_made() -> None:
    """Ten thousand values: a table of them would be 400 MB, and its softmax as much again."""
    scale = OrdinalScale(0, 9999, levels=[{"phrase": "few", "start": 0}, {"phrase": "many", "start": 5000}])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rank, logits = torch.tensor([3, 9000]), torch.zeros(2, 10_000)
    assert soft_labels(10_000, rank=rank).sum(dim=1).tolist() == pytest.approx([1, 1], abs=1e-4)
    assert soft_values(rank, scale.values, 5.0)[1, 9005].item() == pytest.approx(math.exp(-1), rel=1e-5)
    assert fcrc_image_to_text(logits, rank, "similarities").isfinite()
    assert smooth_ranks(torch.ones(10_000))[5000].item() == pytest.approx(1)
    votes = torch.nn.functional.one_hot(rank, 10_000).float()
    assert soft_vote_loss(logits, votes, scale.values, 3.0).item() == pytest.approx(math.log(10_000), rel=1e-4)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000, "KiB"


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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("overlay", overlays(), ids=lambda path: path.stem)
def test_a_million_values_are_trained_and_predicted_in_bounded_memory(overlay: Path) -> None:
    model = yaml.safe_load(overlay.read_text(encoding="utf-8"))["model"]
    if model["class_path"] not in FEW:
        pytest.skip("it has an output for each value, and is refused")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scale = {**DOLLARS, "minimum": 0, "maximum": 1_000_000, "levels": [{"phrase": "cheap", "start": 0},
             {"phrase": "dear", "start": 250_000}]}  # fmt: skip
    arguments = {"pretrained": None, **model.get("init_args", {}), "backbone": "mini", "scale": scale}
    if model["class_path"] == "CLIPEBC":
        # Otherwise it reads them from the targets of a datamodule.
        arguments["anchors"] = "middle"
    method = getattr(methods, model["class_path"])(**arguments)
    side = method.clip.image_size
    targets = torch.tensor([0.0, 300_000.0, 700_000.0, 999_999.0])
    samples = [{"image": torch.full((3, side, side), target / 1e6), "target": target, "index": torch.tensor(place)}
               for place, target in enumerate(targets)]  # fmt: skip
    images = loader(samples)
    if any(parameter.requires_grad for parameter in method.parameters()):
        quiet_trainer(max_epochs=1).fit(method, images, images)
    (prediction,) = cast("list[Any]", quiet_trainer().predict(method, images))
    assert prediction.value.isfinite().all()
    assert method.scale.level_at(prediction.value).max() <= 1
    # In KiB. R x R would be terabytes; R numbers for each of four images are 16 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000

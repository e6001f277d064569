"""The layers of image towers: every parameter in one layer, from the images up, for each kind of tower."""

from pathlib import Path

import pytest
from torch import nn

from numclip_lightning.errors import BackboneError
from numclip_lightning.models.layers import image_layers
from numclip_lightning.models.loading import load_image_tower
from support.places import SHARED

BLOCKS = {
    "tiny-vit": ["transformer.resblocks.0", "transformer.resblocks.1"],
    "tiny-resnet": ["layer1.0", "layer2.0", "layer3.0", "layer4.0"],
    "tiny-timm": ["layer1.0", "layer2.0", "layer3.0", "layer4.0"],
}
STEMS = {
    "tiny-vit": {"class_embedding", "positional_embedding", "conv1.weight", "ln_pre.weight", "ln_pre.bias"},
    "tiny-resnet": {f"{kind}{i}.{what}" for i in (1, 2, 3) for kind, what in
                    (("conv", "weight"), ("bn", "weight"), ("bn", "bias"))},
}  # fmt: skip


def check(visual: nn.Module) -> dict[str, list[str]]:
    layers = image_layers(visual)
    assert sorted(name for names in layers.values() for name in names) == sorted(
        name for name, _ in visual.named_parameters()
    )
    assert next(iter(layers)) == "stem"
    assert list(layers)[-1] == "top"
    return layers


@pytest.mark.parametrize("backbone", BLOCKS)
def test_every_parameter_is_in_one_layer(backbone: str) -> None:
    layers = check(load_image_tower(backbone, None).visual)
    assert list(layers)[1:-1] == BLOCKS[backbone]
    for label in BLOCKS[backbone]:
        assert all(f"{label}." in name for name in layers[label])
    if backbone in STEMS:
        assert set(layers["stem"]) == STEMS[backbone]


def test_the_tops_are_norm_pooling_and_projection() -> None:
    assert set(image_layers(load_image_tower("tiny-vit", None).visual)["top"]) == {
        "proj",
        "ln_post.weight",
        "ln_post.bias",
    }
    assert image_layers(load_image_tower("tiny-timm", None).visual)["top"] == ["head.proj.weight"]
    assert all(name.startswith("attnpool.") for name in image_layers(load_image_tower("mini").visual)["top"])


def test_blocks_are_in_the_order_of_their_numbers() -> None:
    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Linear(1, 1)
            self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(nn.Linear(1, 1) for _ in range(12))})
            self.ln_post = nn.LayerNorm(1)

    assert list(check(Transformer()))[1:-1] == [f"transformer.resblocks.{i}" for i in range(12)]


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet"])
def test_towers_of_timm_are_divided_as_their_authors_do(name: str) -> None:
    import timm

    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = timm.create_model(name, num_classes=0)
            self.head = nn.Linear(4, 4)

    layers = check(Tower())
    assert len(layers) > 4
    assert {"head.weight", "head.bias"} <= set(layers["top"])


def test_the_face_tower_has_four_blocks() -> None:
    folder = SHARED / "models" / "face-mini-clip"
    if not Path(folder).is_dir():
        pytest.skip("the face model of ../shared is not here")
    layers = check(load_image_tower(f"local-dir:{folder}").visual)
    assert list(layers) == ["stem", "layer1.0", "layer2.0", "layer3.0", "layer4.0", "top"]


def test_a_tower_without_known_blocks_is_refused() -> None:
    with pytest.raises(BackboneError, match="the layers of the image tower Sequential are not known"):
        image_layers(nn.Sequential(nn.Linear(1, 1)))

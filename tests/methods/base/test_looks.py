"""Looks at an image: those that training shows, averaged in evaluation; kept, exported, left out on request."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from numclip_lightning.data import CountingDataModule, ListDataModule
from numclip_lightning.data.base.shown import Shown
from numclip_lightning.deploy import OrdinalPredictor
from numclip_lightning.images.transforms import Preprocess, build_transform
from numclip_lightning.methods import NumCLIPPlus
from numclip_lightning.methods.base.looks import enlarge, looks_at
from support.predictors import RECIPE, random_images, tiny_method
from support.scales import COUNTS
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import quiet_trainer

register_tiny_clips()
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")


def method(**arguments: Any) -> NumCLIPPlus:
    torch.manual_seed(0)
    found = tiny_method(NumCLIPPlus, **{"strengths": [], "spread": 2.0, "lr_scheduler": None, **arguments})
    assert isinstance(found, NumCLIPPlus)
    torch.nn.init.normal_(found.stage.residual.weight)
    return found.eval()


def shown(module: NumCLIPPlus, turns: bool, zoom: float) -> NumCLIPPlus:
    """What a fit on such images leaves behind."""
    module.load_state_dict({**module.state_dict(), "shown": torch.tensor([float(turns), zoom])})
    return module


def test_turns_and_mirrors_are_the_eight_symmetries_of_a_square() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    found = {tuple(look.flatten().tolist()) for look in looks_at(image, turns=True, zoom=1.0, mirror=True)}
    square = image[0, 0].numpy()
    turned = [np.rot90(side, quarters) for side in (square, square.T) for quarters in range(4)]
    assert found == {tuple(one.flatten().tolist()) for one in turned}
    assert len(found) == 8


@pytest.mark.parametrize("side", [32, 33, 64])
def test_a_closer_look_is_the_middle_enlarged(side: int) -> None:
    # A plane stays a plane, flatter by the zoom, around the same middle.
    ramp = torch.arange(float(side)) - (side - 1) / 2
    plane = (ramp[:, None] + 3 * ramp[None, :])[None, None]
    large = round(side * 1.125)
    found = enlarge(plane, 1.125)
    assert found.shape == plane.shape
    edge = (large - side) // 2
    places = (torch.arange(float(side)) + edge - (large - 1) / 2) * side / large
    # The bicubic kernel bends a plane a little, and repeats the edge pixels beyond the edge.
    inner = slice(2, -2)
    wanted = places[:, None] + 3 * places[None, :]
    torch.testing.assert_close(found[0, 0, inner, inner], wanted[inner, inner], atol=0.25, rtol=0)


def test_several_images_of_a_sample_are_enlarged_one_by_one() -> None:
    images = torch.randn(2, 3, 3, 32, 32)
    images[1, 2] = float("nan")  # one that is not there
    found = enlarge(images, 1.125)
    wanted = torch.stack([torch.stack([enlarge(one[None], 1.125)[0] for one in sample]) for sample in images])
    torch.testing.assert_close(found, wanted, equal_nan=True)
    assert found.isnan().flatten(2).any(2).tolist() == [[False] * 3, [False, False, True]]


@pytest.mark.parametrize(
    ("preprocess", "augment", "side", "zoom"),
    [("clip", True, 64, 72 / 64), ("clip", False, 64, 1), ("published", True, 64, 1), ("whole", True, 64, 1)],
)
def test_files_show_their_closest_crop(
    preprocess: Preprocess, augment: bool, side: int, zoom: float, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text("a.png 1\n", encoding="utf-8")
    data = ListDataModule(
        root=str(tmp_path), train_file="list.txt", image_size=side, preprocess=preprocess, augment=augment
    )
    assert data.shown() == Shown(turns=False, zoom=zoom)


def test_no_training_crop_is_closer_than_the_closest() -> None:
    # A bar whose width in a crop says how much the crop enlarges it.
    pixels = np.zeros((320, 320, 3), np.uint8)
    pixels[:, 120:200] = 255
    transform = build_transform(64, "clip", train=True)
    torch.manual_seed(0)
    widths = [float(transform.square(pixels)[32, :, 0].astype(float).sum()) / 255 for _ in range(200)]
    assert max(widths) / 16 == pytest.approx(72 / 64, abs=0.02)
    assert min(widths) / 16 == pytest.approx(1, abs=0.02)


def test_scenes_show_their_turns() -> None:
    assert CountingDataModule(num_train=4).shown() == Shown(turns=True, zoom=1.0)
    assert CountingDataModule(num_train=4, augment=False).shown() == Shown()


@torch.no_grad()
@pytest.mark.parametrize("mirror", [True, False])
def test_a_feature_is_the_mean_over_the_looks(mirror: bool) -> None:
    module, images = shown(method(mirror=mirror), True, 1.25), torch.randn(3, 3, 32, 32)
    wanted = []
    for size in (images, enlarge(images, 1.25)):
        for quarters in range(4):
            turned = torch.from_numpy(np.rot90(size.numpy(), quarters, (2, 3)).copy())
            wanted += [turned, torch.from_numpy(turned.numpy()[..., ::-1].copy())] if mirror else [turned]
    features = [module.clip.encode_image(one) for one in wanted]
    mean = sum((f / f.norm(dim=1, keepdim=True) for f in features), torch.zeros(())) / len(features)
    torch.testing.assert_close(module.encode_images(images), mean)


@torch.no_grad()
def test_training_and_the_start_look_once() -> None:
    module, images = shown(method(), True, 1.125), torch.randn(2, 3, 32, 32)
    with module.one_view():
        once = module.encode_images(images)
    torch.testing.assert_close(once, module.clip.encode_image(images))
    assert not torch.allclose(module.encode_images(images), once)
    plain = method(mirror=False, test_time_augmentation=False)
    plain.load_state_dict(module.state_dict())
    torch.testing.assert_close(plain.encode_images(images), once)


def fitted(**arguments: Any) -> NumCLIPPlus:
    module = method(scale=COUNTS, backbone="tiny-vit", **arguments)
    data = CountingDataModule(num_train=8, num_val=4, batch_size=4, image_size=32)
    quiet_trainer(max_epochs=1).fit(module, datamodule=data)
    return module.eval()


@torch.no_grad()
def test_a_fit_on_scenes_reads_turned_scenes_alike() -> None:
    module, images = fitted(), torch.randn(2, 3, 32, 32)
    torch.nn.init.normal_(module.stage.residual.weight)
    torch.testing.assert_close(module(images).logits, module(torch.rot90(images, 1, (2, 3))).logits)
    assert module.shown.tolist() == [1.0, 1.0]
    assert fitted(test_time_augmentation=False).shown.tolist() == [0.0, 1.0]


@torch.no_grad()
def test_what_was_shown_is_kept_with_the_weights_and_older_weights_look_as_they_did() -> None:
    trained, images = shown(method(), False, 1.125), torch.randn(2, 3, 32, 32)
    other = method()
    other.load_state_dict(trained.state_dict())
    assert torch.equal(other(images).logits, trained(images).logits)
    old: dict[str, Tensor] = {name: value for name, value in trained.state_dict().items() if name != "shown"}
    other.load_state_dict(old)
    both = [module.clip.encode_image(side) for module in (other,) for side in (images, images.flip(-1))]
    own, mirrored = (f / f.norm(dim=1, keepdim=True) for f in both)
    torch.testing.assert_close(other.encode_images(images), (own + mirrored) / 2)


def test_an_export_looks_as_often(tmp_path: Path) -> None:
    images = random_images(3)

    def read(predictor: OrdinalPredictor) -> list[float]:
        return [share for prediction in predictor(images) for share in prediction.probabilities.values()]

    predictor = OrdinalPredictor.from_method(shown(method(mirror=False), True, 1.125), RECIPE)
    before = read(predictor)
    predictor.save_pretrained(tmp_path / "all")
    assert read(OrdinalPredictor.load(tmp_path / "all")) == pytest.approx(before, abs=1e-5)
    alone = OrdinalPredictor.from_method(method(mirror=False), RECIPE)
    assert read(alone) != pytest.approx(before, abs=1e-5)

"""Several looks at an image by any method: the mean of features, kept with the weights, refused where there is none."""

import pytest
import torch
from torch import Tensor

from numclip_lightning.data import CountingDataModule
from numclip_lightning.errors import ConfigError
from numclip_lightning.methods import SORD, AttentionMIL, CoOp, OrdinalMethod
from numclip_lightning.methods.base.looks import enlarge
from support.predictors import KINDS, tiny_method
from support.scales import COUNTS
from support.tiny_fit import quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

ALL = {"mirror": True, "test_time_augmentation": True}
PLACES = ["CLIPEBCBlocks", "RankingAwareCLIP", "ZIP"]


def trained(kind: type[OrdinalMethod], zoom: float) -> OrdinalMethod:
    """What a fit on crops leaves behind."""
    module = tiny_method(kind, **ALL).eval()
    module.load_state_dict({**module.state_dict(), "shown": torch.tensor([0.0, zoom])})
    return module


@torch.no_grad()
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.__name__ not in [*PLACES, "NumCLIPPlus"]])
def test_any_method_may_look_several_times(kind: type[OrdinalMethod]) -> None:
    module, images = trained(kind, 1.25), torch.randn(3, 3, 32, 32)
    once = tiny_method(kind).eval()
    once.load_state_dict(module.state_dict())
    looks = [look for size in (images, enlarge(images, 1.25)) for look in (size, size.flip(-1))]
    features = torch.stack([once.encode_images(look) for look in looks])
    torch.testing.assert_close(module.encode_images(images), features.mean(dim=0))
    torch.testing.assert_close(module.encode_images(images), module.encode_images(images.flip(-1)))
    torch.testing.assert_close(module.train().encode_images(images), once.train().encode_images(images))


@torch.no_grad()
def test_each_view_of_a_sample_is_looked_at() -> None:
    module = tiny_method(AttentionMIL, mirror=True).eval()
    views = torch.randn(2, 3, 3, 32, 32)
    views[1, 2] = float("nan")  # one that is not there
    found = module.encode_images(views)
    for sample, view in [(0, 0), (0, 2), (1, 1)]:
        own, mirrored = (
            module.clip.encode_image(side[None])[0] for side in (views[sample, view], views[sample, view].flip(-1))
        )
        torch.testing.assert_close(found[sample, view], (own + mirrored) / 2, atol=1e-5, rtol=1e-5)
    assert found[1, 2].isnan().all()


@pytest.mark.parametrize("arguments", [{"mirror": True}, {"test_time_augmentation": True}, ALL])
@pytest.mark.parametrize("name", PLACES)
def test_methods_that_read_places_look_once(name: str, arguments: dict[str, bool]) -> None:
    kind = next(kind for kind in KINDS if kind.__name__ == name)
    with pytest.raises(ConfigError, match=f"{' and '.join(arguments)}: .*{name} reads their places"):
        tiny_method(kind, **arguments)


def test_an_encoding_that_looks_once_is_refused() -> None:
    class Old(SORD):  # type: ignore[misc]
        def encode_images(self, images: Tensor) -> Tensor:
            features: Tensor = 2 * self.clip.encode_image(images)
            return features

    with pytest.raises(ConfigError, match=r"mirror: Old has an encode_images of its own.*override encode_look"):
        tiny_method(Old, mirror=True)
    images = torch.randn(1, 3, 32, 32)
    old = tiny_method(Old).eval()
    torch.testing.assert_close(old.encode_images(images), 2 * old.clip.encode_image(images))


def test_weights_of_one_look_have_no_looks_in_them() -> None:
    assert "shown" not in tiny_method(CoOp).state_dict()
    module = tiny_method(CoOp, **ALL)
    module.load_state_dict(tiny_method(CoOp).state_dict())
    assert module.state_dict()["shown"].tolist() == [0.0, 1.0]


@torch.no_grad()
def test_a_fit_of_another_method_takes_the_looks_from_its_data() -> None:
    module = tiny_method(SORD, scale=COUNTS, lr_scheduler=None, **ALL)
    data = CountingDataModule(num_train=8, num_val=4, batch_size=4, image_size=32)
    quiet_trainer(max_epochs=1).fit(module, datamodule=data)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(module.eval()(images).value, module(torch.rot90(images, 1, (2, 3))).value)

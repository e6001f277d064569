"""Evaluation without the text tower: the same numbers, and its memory is given back."""

import gc
import weakref
from typing import Any

import pytest
import torch

from numclip_lightning.deploy import OrdinalPredictor
from numclip_lightning.errors import ConfigError
from numclip_lightning.methods import NumCLIP, OrdinalMethod
from numclip_lightning.methods.base import PromptedMethod
from numclip_lightning.runs.concepts import Concepts
from numclip_lightning.runs.released import ReleaseText, trained_parameters
from support.predictors import KINDS, random_images, tiny_method
from support.tiny_fit import TARGETS, batch_of, images_of, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

PROMPTED = [kind for kind in KINDS if issubclass(kind, PromptedMethod)]


def held_bytes(method: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*method.parameters(), *method.buffers()))


@pytest.mark.parametrize("kind", PROMPTED, ids=lambda kind: kind.__name__)
def test_predictions_are_the_same_bit_for_bit(kind: type[OrdinalMethod]) -> None:
    method = tiny_method(kind).eval()
    batch = batch_of(method, TARGETS)
    with torch.inference_mode():
        before = method.predict_step(batch, 0)
        method.release_text()
        after = method.predict_step(batch, 0)
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    assert not [name for name in method.state_dict() if name.startswith("clip.text.")]


@pytest.mark.parametrize("verb", ["test", "predict"])
def test_a_trainer_frees_the_tower_before_its_first_batch(verb: str) -> None:
    method: Any = tiny_method(NumCLIP, learning_rates={"text_encoder": 1e-3})
    before, text = held_bytes(method), held_bytes(method.clip.text)
    tower = weakref.ref(method.clip.text.token_embedding)
    images = loader(images_of(method, TARGETS))
    plain = quiet_trainer().predict(method, images)
    release, trained = ReleaseText(), trained_parameters(method)
    getattr(quiet_trainer(callbacks=[release]), verb)(method, images)
    assert trained_parameters(method) + release.trained == trained > release.trained > 0
    gc.collect()
    assert tower() is None
    assert text > before / 2
    assert held_bytes(method) == before - text + method.prototypes().nbytes
    again = quiet_trainer().predict(method, images)
    assert plain is not None
    assert again is not None
    assert torch.equal(plain[0].value, again[0].value)  # type: ignore[union-attr,unused-ignore]


def test_a_validation_keeps_it() -> None:
    method: Any = tiny_method(NumCLIP)
    quiet_trainer(callbacks=[ReleaseText()]).validate(method, loader(images_of(method, TARGETS)), verbose=False)
    assert method.clip.text.token_embedding.weight.shape[1] == 32


def test_whatever_needs_it_afterwards_is_told_so() -> None:
    method: Any = tiny_method(NumCLIP)
    method.release_text()
    method.release_text()
    with pytest.raises(ConfigError, match="the text tower was released"):
        Concepts(["a dog"], method)
    with pytest.raises(ConfigError, match="load its checkpoint again to train it"):
        method.train()
    with pytest.raises(ConfigError, match="would not be whole"):
        method.on_save_checkpoint({})


def test_prototypes_follow_the_method_to_another_type() -> None:
    method: Any = tiny_method(NumCLIP)
    method.release_text()
    before = method.prototypes()
    assert torch.equal(method.double().prototypes(), before.double())


def test_a_predictor_has_no_text_tower_unless_it_is_asked_for() -> None:
    images = random_images(3)
    light, whole = OrdinalPredictor.load("mini"), OrdinalPredictor.load("mini", keep_text=True)
    assert [one.value for one in light(images)] == [one.value for one in whole(images)]
    names = [{name for name, _ in one.halves.encoder.named_parameters()} for one in (light, whole)]
    assert not any(".text." in name for name in names[0])
    assert any(".text." in name for name in names[1])

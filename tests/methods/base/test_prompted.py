"""Prototypes: computed once while nothing changes them, and again after every change."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

from numclip_lightning.methods.base import LearningRates
from numclip_lightning.methods.numclip import NumCLIP
from support.tiny_fit import TARGETS, TINY, batch_of, bright, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

RESTING_WORDS = LearningRates(image_encoder=1e-3, context=0, phrases=0)


def build(**arguments: Any) -> tuple[NumCLIP, list[int]]:
    """Return a method in evaluation, and a list that grows with every run of its text tower."""
    method, runs = NumCLIP(**TINY, **arguments).eval(), list[int]()
    method.clip.text.register_forward_hook(lambda *_: runs.append(1))
    return method, runs


def switch_by_attribute(method: nn.Module, training: bool) -> None:
    """Change the mode as Lightning does after a validation: without a call of `train()`."""
    for module in method.modules():
        module.training = training


@torch.no_grad()
def edit_in_place(method: NumCLIP) -> None:
    method.prompts.phrases.mul_(-2)


@torch.no_grad()
def edit_the_text_tower(method: NumCLIP) -> None:
    method.clip.text.ln_final.get_parameter("bias").add_(1)


def take_a_step(method: NumCLIP) -> None:
    optimizer = torch.optim.SGD([method.prompts.phrases], lr=1.0)
    method.prompts.phrases.square().sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def load_other_weights(method: NumCLIP) -> None:
    other = method.state_dict()
    method.load_state_dict({**other, "prompts.phrases": -other["prompts.phrases"]})


def assign_other_data(method: NumCLIP) -> None:
    method.prompts.phrases.data = -method.prompts.phrases.data


def cast(method: NumCLIP) -> None:
    method.double()


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_direct_calls_in_evaluation_run_the_text_tower_once(context: Callable[[], Any]) -> None:
    method, runs = build()
    with context():
        outputs = [method(torch.zeros(2, 3, 32, 32)) for _ in range(3)]
        method.eval()
        method(torch.zeros(1, 3, 32, 32))
    assert len(runs) == 1
    assert torch.equal(outputs[0].logits, outputs[2].logits)


@pytest.mark.parametrize(
    "change", [edit_in_place, edit_the_text_tower, take_a_step, load_other_weights, assign_other_data, cast]
)
def test_any_change_of_the_words_refreshes_the_prototypes(change: Callable[[NumCLIP], None]) -> None:
    method, runs = build()
    before = method.prototypes()
    change(method)
    found = method.prototypes()

    assert len(runs) == 2
    assert found.dtype != before.dtype or not torch.allclose(found, before, atol=1e-3)
    method._kept = None
    assert torch.equal(found, method.prototypes())


@pytest.mark.parametrize("switch", [nn.Module.train, switch_by_attribute])
def test_training_computes_prototypes_with_a_gradient(switch: Callable[[nn.Module, bool], Any]) -> None:
    method, runs = build()
    assert not method.prototypes().requires_grad
    switch(method, True)
    assert method.prototypes().requires_grad
    assert method.prototypes().requires_grad
    assert len(runs) == 3
    switch(method, False)
    assert not method.prototypes().requires_grad
    assert len(runs) == 4


def test_an_evaluation_in_inference_mode_leaves_nothing_that_training_could_not_use() -> None:
    method, runs = build(learning_rates=RESTING_WORDS)
    batch = batch_of(method, TARGETS)
    with torch.inference_mode():
        method(batch["image"])
    for switch in (method.train, lambda: switch_by_attribute(method, False)):
        switch()
        torch.stack(list(method.losses(method(batch["image"]), batch).values())).sum().backward()  # type: ignore[no-untyped-call]
    assert len(runs) == 3


def test_training_keeps_prototypes_that_no_step_changes() -> None:
    method, runs = build(learning_rates=RESTING_WORDS, lr_scheduler=None)
    samples = loader(bright(TARGETS), batch_size=1)
    quiet_trainer(max_epochs=3).fit(method, samples)
    assert len(runs) == 1


def test_kept_prototypes_do_not_depend_on_the_precision_of_the_first_call() -> None:
    method, _ = build()
    with torch.autocast("cpu", torch.bfloat16):
        found = method.prototypes()
    method._kept = None
    assert torch.equal(found, method.prototypes())


def test_a_copy_has_prototypes_of_its_own() -> None:
    method, _ = build()
    before = method.prototypes()
    copy = deepcopy(method)
    edit_in_place(copy)
    assert not torch.allclose(copy.prototypes(), before, atol=1e-3)
    assert torch.equal(method.prototypes(), before)


@torch.no_grad()
def test_an_export_takes_kept_prototypes_as_constants() -> None:
    method, runs = build()
    images = torch.randn(2, 3, 32, 32)
    expected = method(images).value
    exported = torch.export.export(method, (images,), strict=False)
    torch.testing.assert_close(exported.module()(images).value, expected)
    assert len(runs) == 1

"""The published RAdam against its rule in plain numbers, and against torch's."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, build_optimizer
from numclip_lightning.methods.base.radam import PublishedRAdam

STEPS = 20


def slow_rule(
    start: float, gradients: list[float], lr: float, decay: float = 0.0, beta1: float = 0.9, beta2: float = 0.999
) -> list[float]:
    """One number, step by step: averages always, a step (and decay) only where rho is above 5."""
    value, average, square, seen = start, 0.0, 0.0, []
    longest = 2 / (1 - beta2) - 1
    for step, gradient in enumerate(gradients, start=1):
        average = beta1 * average + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        rho = longest - 2 * step * beta2**step / (1 - beta2**step)
        if rho > 5:
            rectified = math.sqrt((rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho))
            scale = math.sqrt(1 - beta2**step) / (math.sqrt(square) + 1e-8)
            value -= lr * decay * value
            value -= lr * rectified * scale * average / (1 - beta1**step)
        seen.append(value)
    return seen


def train(
    kind: Callable[..., torch.optim.Optimizer], starts: Tensor, gradients: Tensor, **args: Any
) -> tuple[Tensor, torch.optim.Optimizer]:
    """Return the parameter after each step, (steps, n), and the optimiser; gradients are (steps, n)."""
    weight = nn.Parameter(starts.clone())
    optimizer = kind([weight], **args)
    seen = []
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
        seen.append(weight.detach().clone())
    return torch.stack(seen), optimizer


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    starts = torch.randn(7, generator=generator, dtype=torch.float64)
    return starts, torch.randn(STEPS, 7, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("foreach", [None, False, True])
@pytest.mark.parametrize("decay", [0.0, 5e-4, 0.3])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.9)])
def test_twenty_steps_follow_the_published_rule(
    data: tuple[Tensor, Tensor], foreach: bool | None, decay: float, betas: tuple[float, float]
) -> None:
    starts, gradients = data
    found, _ = train(PublishedRAdam, starts, gradients, lr=1e-2, weight_decay=decay, foreach=foreach, betas=betas)
    expected = [
        slow_rule(start, column, 1e-2, decay, *betas)
        for start, column in zip(starts.tolist(), gradients.T.tolist(), strict=True)
    ]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64).T, atol=1e-12, rtol=0)


def test_the_first_five_steps_move_nothing(data: tuple[Tensor, Tensor]) -> None:
    starts, gradients = data
    found, _ = train(PublishedRAdam, starts, gradients, lr=1.0, weight_decay=0.5)
    assert all(torch.equal(row, starts) for row in found[:5])
    assert (found[5] != starts).all()


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_later_steps_and_the_averages_are_those_of_torch(
    data: tuple[Tensor, Tensor], maximize: bool, dtype: torch.dtype
) -> None:
    starts, gradients = (tensor.to(dtype) for tensor in data)
    args = {"lr": 1e-2, "maximize": maximize}
    ours, optimizer = train(PublishedRAdam, starts, gradients, **args)
    theirs, reference = train(torch.optim.RAdam, starts, gradients, **args)
    torch.testing.assert_close(ours[5:].diff(dim=0), theirs[5:].diff(dim=0), atol=1e-12, rtol=0)
    assert not torch.equal(ours, theirs)
    for (_, state), (_, expected) in zip(optimizer.state.items(), reference.state.items(), strict=True):
        assert state.keys() == expected.keys()
        for key in state:
            torch.testing.assert_close(state[key], expected[key], atol=1e-15, rtol=0)


def test_each_parameter_counts_its_own_steps() -> None:
    early, late = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = PublishedRAdam([early, late], lr=0.1)
    moved: dict[str, int] = {}
    for step in range(1, 13):
        early.grad, late.grad = torch.ones(1), torch.ones(1) if step > 4 else None
        optimizer.step()
        for name, weight in (("early", early), ("late", late)):
            if weight.item() != 1:
                moved.setdefault(name, step)
    assert moved == {"early": 6, "late": 10}


def test_a_closure_is_called_once_a_step_with_gradients_on() -> None:
    weight, calls, hooks = nn.Parameter(torch.ones(1)), [], []
    optimizer = PublishedRAdam([weight], lr=0.1)
    optimizer.register_step_post_hook(lambda *_: hooks.append(1))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        calls.append(loss.item())
        return loss

    losses = [optimizer.step(closure).item() for _ in range(7)]
    assert calls == losses
    assert len(hooks) == 7
    assert losses[:6] == [1.0] * 6
    assert losses[6] < 1


def test_a_training_goes_on_from_its_state(data: tuple[Tensor, Tensor]) -> None:
    starts, gradients = data
    whole, _ = train(PublishedRAdam, starts, gradients, lr=1e-2)
    for stop in (3, 8):
        first, optimizer = train(PublishedRAdam, starts, gradients[:stop], lr=1e-2)
        weight = nn.Parameter(first[-1].clone())
        again = PublishedRAdam([weight], lr=1.0)
        again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        for gradient in gradients[stop:]:
            weight.grad = gradient.clone()
            again.step()
        assert torch.equal(weight.detach(), whole[-1])


def test_it_is_found_by_its_name_and_refuses_what_it_has_not() -> None:
    parts = {"head": [nn.Parameter(torch.zeros(1))]}
    optimizer = build_optimizer(
        OptimizerSpec("PublishedRAdam", {"weight_decay": 5e-4}), parts, LearningRates(head=1e-5)
    )
    assert type(optimizer) is PublishedRAdam
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(1e-5, 5e-4)]
    with pytest.raises(ConfigError, match=r"no subclass of Optimizer .*did you mean 'PublishedRAdam'"):
        OptimizerSpec("PublishedRAdm")
    with pytest.raises(ConfigError, match="PublishedRAdam takes no 'decoupled_weight_decay'"):
        OptimizerSpec("PublishedRAdam", {"decoupled_weight_decay": False})
    with pytest.raises(ValueError, match="Invalid learning rate"):
        PublishedRAdam(parts["head"], lr=-1.0)

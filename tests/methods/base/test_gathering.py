"""Losses that contrast a batch: k processes at b images have the gradients of one at k*b, if they gather."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from numclip_lightning import methods
from numclip_lightning.methods import OrdinalMethod
from numclip_lightning.methods.base.gathering import gather_batch
from support.processes import in_processes
from support.tiny_fit import TINY, bright, loader

TARGETS = [0.0, 1.0, 5.0, 2.0, 6.0, 3.0]
# What contrasts a batch, normalises weights in it, or is no mean over its images.
CONTRASTING: dict[str, dict[str, Any]] = {
    "NumCLIP": {},
    "OrdinalCLIP": {"num_context": 2},
    "L2RCLIP": {"num_context": 2, "names": "phrases"},
    "AntonymScale": {"num_context": 4, "fidelity": 0.5},
    "RankingAwareCLIP": {"width": 16},
    "SORD": {"imbalance": {"conr": 1.0}},
}


def build(name: str) -> OrdinalMethod:
    torch.manual_seed(0)
    kind: Callable[..., OrdinalMethod] = getattr(methods, name)
    rates = {} if name == "RankingAwareCLIP" else {"learning_rates": {"image_encoder": 0.1, "head": 0.1}}
    # float64: the sums of the processes are rounded in another order.
    return kind(**{**TINY, "gather": True, **rates, **CONTRASTING[name]}).double().train()


def gradients(method: OrdinalMethod, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The gradients of a training step on a batch, averaged over the processes as DDP does."""
    batch = {name: found.double() if found.is_floating_point() else found for name, found in batch.items()}
    output, joined = gather_batch(method._output(batch), batch, method.shared_extras)
    torch.autograd.backward(torch.stack(list(method._joined_losses(output, joined).values())).sum())
    found = {name: p.grad for name, p in method.named_parameters() if p.grad is not None}
    if dist.is_initialized():
        for gradient in found.values():
            dist.all_reduce(gradient)
            gradient /= dist.get_world_size()
    return found


@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize("processes", [2, 3])
def test_gradients_are_those_of_one_process(tmp_path: Path, processes: int) -> None:
    samples = bright(TARGETS)

    def work(rank: int) -> dict[str, dict[str, torch.Tensor]]:
        dist.init_process_group("gloo")
        found = {}
        for name in CONTRASTING:
            method = build(name)
            (batch,) = loader(samples[rank::processes], len(TARGETS))
            found[name] = gradients(method, method.with_levels(batch))
        return found

    shares = in_processes(processes, tmp_path, work)
    for name in CONTRASTING:
        method = build(name)
        (batch,) = loader(samples, len(TARGETS))
        expected = gradients(method, method.with_levels(batch))
        assert len(expected) > 2
        for share in shares:
            assert share[name].keys() == expected.keys()
            for part, gradient in expected.items():
                where = f"{name} {part}"
                torch.testing.assert_close(
                    share[name][part], gradient, atol=1e-9, rtol=1e-7, msg=f"{where}: %s".__mod__
                )


def test_without_it_two_processes_have_other_gradients() -> None:
    def of(samples: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        method = build("NumCLIP")
        (batch,) = loader(samples, len(samples))
        return gradients(method, method.with_levels(batch))["prompts.phrases"]

    samples = bright(TARGETS)
    assert not torch.allclose((of(samples[::2]) + of(samples[1::2])) / 2, of(samples), rtol=0.01)


def test_one_process_has_nothing_to_gather() -> None:
    (batch,) = loader(bright(TARGETS), 6)
    method = build("NumCLIP").float()
    output = method._output(batch)
    assert gather_batch(output, batch) == (output, batch)
    assert not methods.NumCLIP(**TINY).gather, "off unless asked for"

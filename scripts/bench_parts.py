"""The parts of `bench.py` in tensors; each yields rows of what was measured, what is wanted, and what was found."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from numclip_lightning.scale import Level, OrdinalScale

Row = tuple[str, str, str]


@dataclass(frozen=True)
class Run:
    """What all parts share: where and how to measure."""

    device: torch.device
    batch: int
    backbone: str
    paired: Callable[[Callable[[], object], Callable[[], object]], str]


def scale_of(levels: int) -> OrdinalScale:
    """A scale of ages."""
    phrases = [Level(f"{level} years old", level * 100 // levels) for level in range(levels)]
    return OrdinalScale(minimum=0, maximum=100, unit="years", template="a photo of a {} person.", levels=phrases)


def method_of(run: Run, levels: int) -> Any:
    """A method with 5 learned phrases, or with 101 learned ranks; random weights."""
    from numclip_lightning.methods.numclip import NumCLIP
    from numclip_lightning.methods.ordinalclip import OrdinalCLIP

    kind = NumCLIP if levels < 50 else OrdinalCLIP
    return kind(scale=scale_of(min(levels, 5)), backbone=run.backbone, pretrained=None).to(run.device)


def batch_of(run: Run, side: int) -> tuple[Tensor, Tensor]:
    """Random images and their targets."""
    images = torch.randn(run.batch, 3, side, side, device=run.device)
    return images, torch.randint(0, 101, (run.batch,), device=run.device).float()


def loss_of(method: Any, images: Tensor, targets: Tensor) -> Tensor:
    """The loss of a training step."""
    batch = {"target": targets, "level": method.scale.to_level(targets), "rank": method.scale.to_rank(targets)}
    return torch.stack(list(method.losses(method(images), batch).values())).sum()


def step(run: Run) -> Iterator[Row]:
    """A training step over forward, backward and step of the bare image tower."""
    for levels, target in ((5, "1.05"), (101, "1.15")):
        method = method_of(run, levels).train()
        images, targets = batch_of(run, method.clip.image_size)
        optimiser = torch.optim.RAdam([p for p in method.parameters() if p.requires_grad], lr=1e-6)
        bare = torch.optim.RAdam(method.clip.visual.parameters(), lr=1e-6)

        def whole(method: Any = method, optimiser: Any = optimiser, x: Tensor = images, y: Tensor = targets) -> None:
            loss = loss_of(method, x, y)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()

        def tower(method: Any = method, optimiser: Any = bare, x: Tensor = images) -> None:
            optimiser.zero_grad()
            method.clip.visual(x).float().square().mean().backward()
            optimiser.step()

        what = f"training step, batch {run.batch}, {levels} prompts, over the bare tower's"
        yield what, f"{target} at batch 32", run.paired(whole, tower)
    yield from prompts(run, method)


def prompts(run: Run, method: Any) -> Iterator[Row]:
    """Forward and backward of the text tower: a shared beginning, and passes by length, over whole prompts."""
    from numclip_lightning.models.prompts import ConceptPrompts

    def encode(prompts: Any, **how: Any) -> None:
        method.clip.encode_embeddings(*prompts(method.clip.text), **how).sum().backward()

    own = method.prompts
    found = run.paired(partial(encode, own, prefix=own.prefix), partial(encode, own))
    yield "101 prompts forward and backward, shared beginning over whole prompts", "", found
    phrases = [f"{number} things" for number in range(50)] + [
        "a crowd of far more things than anybody would count " * 2
    ]
    unequal = ConceptPrompts(method.clip, "{} in a photo.", phrases).to(run.device)
    found = run.paired(partial(encode, unequal, buckets=unequal.buckets), partial(encode, unequal))
    yield "51 prompts, one of them long, passes by length over one pass", "", found


def evaluation(run: Run) -> Iterator[Row]:
    """A test step over the bare tower's forward pass."""
    for levels in (5, 101):
        method = method_of(run, levels).eval()
        images, _ = batch_of(run, method.clip.image_size)
        with torch.inference_mode():
            found = run.paired(partial(method, images), partial(method.clip.visual, images))
        yield f"forward in evaluation, {levels} prompts, over the bare tower's", "1.01", found


def losses(run: Run) -> Iterator[Row]:
    """Losses of a large batch over loops over its images, as published code has them."""
    from numclip_lightning.losses import crps_loss, fcrc_image_to_text

    size, ranks = 2048, 101
    logits = torch.randn(size, ranks, device=run.device, requires_grad=True)
    level = torch.randint(0, ranks, (size,), device=run.device)
    values = torch.arange(ranks, device=run.device, dtype=torch.float32)

    def fcrc(row: Tensor, own: int) -> Tensor:
        weights = torch.tensor([abs(other - own) for other in range(ranks)], device=run.device).float()
        weights = weights / weights.sum() * (ranks - 1) + (weights == 0)
        return -torch.log_softmax(row * weights, 0)[own]

    def crps(row: Tensor, own: int) -> Tensor:
        true = torch.tensor([float(rank >= own) for rank in range(ranks - 1)], device=run.device)
        return (row.softmax(0).cumsum(0)[:-1] - true).square().sum()

    pairs: list[tuple[str, Callable[[], Tensor], Callable[[Tensor, int], Tensor]]] = [
        ("FCRC, image to text", lambda: fcrc_image_to_text(logits, level), fcrc),
        ("CRPS", lambda: crps_loss(logits, level.float(), values), crps),
    ]
    for name, fast, of_one in pairs:

        def loops(of_one: Callable[[Tensor, int], Tensor] = of_one) -> None:
            rows = [of_one(row, own) for row, own in zip(logits, level.tolist(), strict=True)]
            torch.autograd.backward(torch.stack(rows).mean())

        def vectors(fast: Callable[[], Tensor] = fast) -> None:
            torch.autograd.backward(fast())

        yield f"{name}, batch 2,048, 101 ranks: a loop over images over vectors", "50", run.paired(loops, vectors)


def kernels(run: Run) -> Iterator[Row]:
    """Options of precision and kernels over plain float32, forward and backward of the tower."""
    method = method_of(run, 5).train()
    tower: Any = method.clip.visual
    x, _ = batch_of(run, method.clip.image_size)

    def plain(inputs: Tensor = x) -> None:
        method.clip.encode_image(inputs).float().square().mean().backward()

    def bfloat16() -> None:
        with torch.autocast(run.device.type, torch.bfloat16):
            found = tower(x)
        found.float().square().mean().backward()

    def math_attention() -> None:
        with sdpa_kernel(SDPBackend.MATH):
            plain()

    def in_parts() -> None:
        method.clip.images_at_once = max(1, run.batch // 4)
        plain()
        method.clip.images_at_once = None

    yield "bf16-mixed over float32", "", run.paired(bfloat16, plain)
    found = run.paired(partial(plain, x.contiguous(memory_format=torch.channels_last)), plain)
    yield "channels_last images over contiguous ones (weights are channels_last)", "", found
    yield "`compute.attention: math` over `auto`", "", run.paired(math_attention, plain)
    yield "`compute.images_at_once`, a quarter of the batch, over all of it", "", run.paired(in_parts, plain)
    if not os.environ.get("BENCH_NO_COMPILE"):
        compiled: Any = torch.compile(tower)
        found = run.paired(lambda: compiled(x).float().square().mean().backward(), plain)
        yield "`compute.compile` over eager", "", found
    yield from optimisers(run, method)


def optimisers(run: Run, method: Any) -> Iterator[Row]:
    """A fused step over the default, which is `foreach` on a GPU and a loop on a CPU."""
    trained = [p for p in method.parameters() if p.requires_grad]
    for p in trained:
        p.grad = torch.zeros_like(p)
    fused, eager = (torch.optim.AdamW(trained, lr=0.0, fused=is_fused or None) for is_fused in (True, False))
    yield "AdamW with `optimizer.args.fused: true` over the default", "", run.paired(fused.step, eager.step)

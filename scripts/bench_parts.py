"""The parts of `bench.py`; each yields rows of what was measured and what was found."""

import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from numclip_lightning.scale import Level, OrdinalScale

Row = tuple[str, str]


@dataclass(frozen=True)
class Run:
    """What all parts share: where and how to measure."""

    device: torch.device
    batch: int
    backbone: str
    paired: Callable[[Callable[[], object], Callable[[], object]], str]


def start(_: Run) -> Iterator[Row]:
    """Processor seconds of a start, beside that of importing the three libraries."""
    code = (
        "import time, torch, lightning, open_clip, io, contextlib; a = time.process_time()\n"
        "from numclip_lightning.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main(['fit', '--help'])\n"
        "print(a, time.process_time() - a)"
    )
    for _attempt in range(3):
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        yield (
            "`fit --help` beyond importing torch, lightning, open_clip",
            f"{float(out[1]):.2f} s ({float(out[0]):.1f} s)",
        )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "numclip_lightning", "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    yield "`numclip --help`", f"{after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.2f} s"


def _scale(levels: int) -> OrdinalScale:
    phrases = [Level(f"{level} years old", level * 100 // levels) for level in range(levels)]
    return OrdinalScale(minimum=0, maximum=100, unit="years", template="a photo of a {} person.", levels=phrases)


def _method(run: Run, levels: int) -> Any:
    """A method with 5 learned phrases, or with 101 learned ranks; random weights."""
    from numclip_lightning.methods.numclip import NumCLIP
    from numclip_lightning.methods.ordinalclip import OrdinalCLIP

    kind = NumCLIP if levels < 50 else OrdinalCLIP
    return kind(scale=_scale(min(levels, 5)), backbone=run.backbone, pretrained=None).to(run.device)


def _batch(run: Run, side: int) -> tuple[Tensor, Tensor]:
    images = torch.randn(run.batch, 3, side, side, device=run.device)
    return images, torch.randint(0, 101, (run.batch,), device=run.device).float()


def step(run: Run) -> Iterator[Row]:
    """A training step over forward, backward and step of the bare image tower."""
    for levels in (5, 101):
        method = _method(run, levels).train()
        images, targets = _batch(run, method.clip.image_size)
        optimiser = torch.optim.RAdam([p for p in method.parameters() if p.requires_grad], lr=1e-6)
        bare = torch.optim.RAdam(method.clip.visual.parameters(), lr=1e-6)

        def whole(method: Any = method, optimiser: Any = optimiser, x: Tensor = images, y: Tensor = targets) -> None:
            output = method(x)
            level = method.scale.to_level(y)
            loss = torch.stack(
                list(method.losses(output, {"target": y, "level": level, "rank": method.scale.to_rank(y)}).values())
            ).sum()
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()

        def tower(method: Any = method, optimiser: Any = bare, x: Tensor = images) -> None:
            optimiser.zero_grad()
            method.clip.visual(x).float().square().mean().backward()
            optimiser.step()

        yield f"training step with {levels} prompts over the bare tower's", run.paired(whole, tower)
        if method.prompts.prefix:

            def plain(method: Any = method) -> None:
                method.clip.encode_embeddings(*method.prompts(method.clip.text)).sum().backward()

            def shared(method: Any = method) -> None:
                found = method.clip.encode_embeddings(*method.prompts(method.clip.text), prefix=method.prompts.prefix)
                found.sum().backward()

            yield (
                f"{levels} prompts forward and backward, shared beginning over whole prompts",
                run.paired(shared, plain),
            )


def evaluation(run: Run) -> Iterator[Row]:
    """A test step over the bare tower's forward pass."""
    for levels in (5, 101):
        method = _method(run, levels).eval()
        images, _ = _batch(run, method.clip.image_size)
        with torch.inference_mode():
            found = run.paired(partial(method, images), partial(method.clip.visual, images))
        yield f"forward in evaluation with {levels} prompts over the bare tower's", found


def losses(run: Run) -> Iterator[Row]:
    """The FCRC loss of a large batch over loops over its pairs, as the published code has them."""
    from numclip_lightning.losses import fcrc_image_to_text

    size, ranks = 2048, 101
    logits = torch.randn(size, ranks, device=run.device, requires_grad=True)
    level = torch.randint(0, ranks, (size,), device=run.device)

    def fast() -> None:
        torch.autograd.backward(fcrc_image_to_text(logits, level).sum())

    def loops() -> None:
        total = logits.new_zeros(())
        for row, own in zip(logits, level.tolist(), strict=True):
            weights = torch.tensor([abs(other - own) for other in range(ranks)], device=run.device).float()
            weights = weights / weights.max() + (weights == 0)
            total = total - torch.log_softmax(row + weights.log(), 0)[own]
        torch.autograd.backward(total / size)

    yield "FCRC, batch 2,048, 101 levels: vectors over a loop over images", run.paired(fast, loops)


def images(run: Run) -> Iterator[Row]:
    """A file to a normalised tensor over PIL and torchvision, in one process."""
    from torchvision import transforms as T
    from torchvision.transforms import InterpolationMode

    from numclip_lightning.images.loading import load_rgb
    from numclip_lightning.images.transforms import CLIP_MEAN, CLIP_STD, build_transform

    plain = T.Compose(
        [T.Resize(224, InterpolationMode.BICUBIC), T.CenterCrop(224), T.ToTensor(), T.Normalize(CLIP_MEAN, CLIP_STD)]
    )
    ours = build_transform(224, "clip", train=False)
    with tempfile.TemporaryDirectory() as folder:
        for width, height in ((200, 200), (816, 612), (2048, 1536)):
            files = [Path(folder, f"{width}-{number}.jpg") for number in range(16)]
            for number, file in enumerate(files):
                noise = np.random.default_rng(number).integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
                Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(file, quality=90)

            def with_ours(files: list[Path] = files) -> object:
                return [ours(load_rgb(file)) for file in files]

            def with_theirs(files: list[Path] = files) -> object:
                return [plain(Image.open(file).convert("RGB")) for file in files]

            found = run.paired(with_ours, with_theirs)
            yield f"JPEG of {width} x {height} to a tensor, over PIL and torchvision", found


def lists(_: Run) -> Iterator[Row]:
    """Seconds and memory of opening a list."""
    code = (
        "import sys, time, resource, torch, lightning, open_clip\n"
        "from numclip_lightning.data.base.labels import read_labels\n"
        "m = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "a, t = m(), time.process_time(); read_labels(sys.argv[1])\n"
        "print(f'{time.process_time() - t:.2f} s, {m() - a:.0f} MB')"
    )
    with tempfile.TemporaryDirectory() as folder:
        for rows in (10**4, 10**5, 10**6):
            file = Path(folder, "list.csv")
            with file.open("w") as out:
                out.write("path,age\n")
                out.writelines(f"faces/{i // 1000:05d}/{i:08d}.jpg,{random.randrange(101)}\n" for i in range(rows))
            done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
            yield f"a list of {rows:,} rows", done.stdout.strip()


def kernels(run: Run) -> Iterator[Row]:
    """Options of precision and kernels over plain float32, forward and backward of the tower."""
    method = _method(run, 5).train()
    tower: Any = method.clip.visual
    x, _ = _batch(run, method.clip.image_size)

    def plain() -> None:
        tower(x).float().square().mean().backward()

    def bfloat16() -> None:
        with torch.autocast(run.device.type, torch.bfloat16):
            found = tower(x)
        found.float().square().mean().backward()

    def channels_last() -> None:
        tower(x.contiguous(memory_format=torch.channels_last)).float().square().mean().backward()

    yield "bf16-mixed over float32", run.paired(bfloat16, plain)
    yield "channels_last images over contiguous ones", run.paired(channels_last, plain)
    if os.environ.get("BENCH_COMPILE"):
        compiled: Any = torch.compile(tower)
        yield "compiled tower over eager", run.paired(lambda: compiled(x).float().square().mean().backward(), plain)
    trained = [p for p in method.parameters() if p.requires_grad]
    for p in trained:
        p.grad = torch.zeros_like(p)
    fused, eager = torch.optim.AdamW(trained, lr=0.0, fused=True), torch.optim.AdamW(trained, lr=0.0, foreach=False)
    yield "fused AdamW over the loop", run.paired(fused.step, eager.step)

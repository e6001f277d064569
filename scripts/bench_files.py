"""The parts of `bench.py` with files and processes: starts, images, lists, a test from files, two processes."""

import contextlib
import os
import random
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image

from bench_memory import MEASURE
from bench_parts import Row, Run, batch_of, loss_of, method_of

# Real photographs, where a checkout has them beside it.
_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

_START = """
import time, torch, lightning, open_clip, io, contextlib, sys; a = time.process_time()
class Done(BaseException): pass
def done(*args, **kwargs): raise Done
lightning.LightningModule.on_train_batch_end = done
from numclip_lightning.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit, Done): main(sys.argv[1:])
print(a, time.process_time() - a)
"""
_FIT = ("fit", "--model=NumCLIP", "--model.backbone=mini", "--model.pretrained=auto", "--model.scale.minimum=1",
        "--model.scale.maximum=60", "--model.scale.template=a picture of {}.",
        "--model.scale.levels=[{phrase: few, start: 1}, {phrase: many, start: 30}]", "--data=CountingDataModule",
        "--data.num_train=8", "--data.num_val=8", "--data.batch_size=8", "--trainer.accelerator=cpu",
        "--trainer.num_sanity_val_steps=0")  # fmt: skip


def start(_: Run) -> Iterator[Row]:
    """Processor seconds of a start, beside those of importing the three libraries."""
    # As for people: what Python compiles of our modules in the first start is there in the others.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        asked = {
            "fit --help": ("fit", "--help"),
            "fit to the end of the first step": (*_FIT, f"--trainer.default_root_dir={folder}"),
        }
        for name, words in asked.items():
            found = []
            for _attempt in range(3):
                done = subprocess.run([sys.executable, "-c", _START, *words], capture_output=True, text=True,
                                      check=True, env=environment)  # fmt: skip
                found.append([float(number) for number in done.stdout.split()[-2:]])
            imports, own = sorted(found, key=lambda pair: pair[1])[1]
            yield (
                f"`numclip {name}` beyond importing torch, lightning, open_clip",
                "1 s",
                f"{own:.2f} s (imports {imports:.1f} s)",
            )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "numclip_lightning", "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    yield "`numclip --help`", "0.5 s", f"{took:.2f} s"


def images(run: Run) -> Iterator[Row]:
    """A file to a normalised tensor over PIL and torchvision, in one process."""
    from torchvision import transforms as T
    from torchvision.transforms import InterpolationMode

    from numclip_lightning.images.loading import Reading, load_rgb
    from numclip_lightning.images.transforms import CLIP_MEAN, CLIP_STD, build_transform

    plain = T.Compose(
        [T.Resize(224, InterpolationMode.BICUBIC), T.CenterCrop(224), T.ToTensor(), T.Normalize(CLIP_MEAN, CLIP_STD)]
    )
    ours = build_transform(224, "clip", train=False)
    with tempfile.TemporaryDirectory() as folder:
        for name, target, files in _photographs(Path(folder)):
            for decode, least in (("whole", None), ("reduced", 448), ("smallest", 224)):
                reading = Reading(least_side=least)

                def with_ours(files: list[Path] = files, reading: Reading = reading) -> object:
                    return [ours(load_rgb(file, reading)) for file in files]

                def with_theirs(files: list[Path] = files) -> object:
                    return [plain(Image.open(file).convert("RGB")) for file in files]

                found = run.paired(with_theirs, with_ours)
                yield f"{name}: PIL and torchvision over ours, `data.decode: {decode}`", target, found


def _photographs(folder: Path) -> Iterator[tuple[str, str, list[Path]]]:
    for name, place in (("faces of 200 x 200", "faces"), ("blood cells of 640 x 480", "blood_cells")):
        if files := sorted((_SHARED / place).rglob("*.jp*g"))[:16]:
            yield f"{name} (16 real JPEGs)", "1.5" if place == "faces" else "2", files
    for width, height in ((200, 200), (816, 612), (4000, 3000)):
        files = [folder / f"{width}-{number}.jpg" for number in range(8)]
        for number, file in enumerate(files):
            noise = np.random.default_rng(number).integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(file, quality=90)
        yield f"generated JPEGs of {width} x {height}", "1.5" if width == 200 else "2", files


def lists(_: Run) -> Iterator[Row]:
    """Seconds and memory of opening a list."""
    code = MEASURE + (
        "import sys, time, torch, lightning, open_clip\n"
        "from numclip_lightning.data.base.labels import read_labels\n"
        "before, start = mark(), time.process_time(); read_labels(sys.argv[1])\n"
        "print(f'{time.process_time() - start:.2f} s, {peak() - before:.0f} MB')"
    )
    with tempfile.TemporaryDirectory() as folder:
        for rows in (10**4, 10**5, 10**6):
            file = Path(folder, "list.csv")
            with file.open("w") as out:
                out.write("path,age\n")
                out.writelines(f"faces/{i // 1000:05d}/{i:08d}.jpg,{random.randrange(101)}\n" for i in range(rows))
            done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
            yield f"a list of {rows:,} rows", "3 s, 300 MB" if rows == 10**6 else "", done.stdout.strip()


class _Clock(Callback):
    """Processor time of the main process from the first batch of a test to its last."""

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.began = time.process_time()

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.took = time.process_time() - self.began


def end_to_end(run: Run) -> Iterator[Row]:
    """A test from files to written predictions over the bare tower on the same images in memory."""
    from numclip_lightning.data import ListDataModule
    from numclip_lightning.runs.calibrating import Calibrate
    from numclip_lightning.runs.predictions import WritePredictions
    from numclip_lightning.runs.released import ReleaseText

    number = 4 * run.batch
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for i in range(number):
            noise = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((256, 256)).save(place / f"{i}.jpg", quality=90)
        (place / "list.csv").write_text("path,age\n" + "".join(f"{i}.jpg,{i % 100}\n" for i in range(number)))
        for levels in (5, 101):
            method = method_of(run, levels).eval()
            ratios = []
            for attempt in range(4):
                side = method.clip.image_size
                data = ListDataModule(
                    root=str(place), test_file="list.csv", batch_size=run.batch, num_workers=1, image_size=side
                )
                clock = _Clock()
                writer = WritePredictions(place / "p.csv", place / f"t{levels}-{attempt}.csv", Calibrate(coverage=None))
                trainer = L.Trainer(accelerator=run.device.type, devices=1, logger=False, enable_checkpointing=False,
                                    enable_progress_bar=False, enable_model_summary=False,
                                    callbacks=[ReleaseText(), clock, writer])  # fmt: skip
                with contextlib.redirect_stdout(None):
                    trainer.test(method, datamodule=data, verbose=False)
                x = torch.randn(run.batch, 3, side, side, device=run.device)
                before = time.process_time()
                with torch.inference_mode():
                    for _batch in range(4):
                        method.clip.visual(x)
                ratios.append((clock.took, time.process_time() - before))
            found = sorted(one / other for one, other in ratios[1:])
            took = ratios[-1]
            yield (
                f"test of {number} JPEGs to written predictions, {levels} prompts, one loading process: processor time "
                "of the main process over the bare tower's", "1.01",
                f"{found[1]:.3f} ({found[0]:.3f} to {found[-1]:.3f}) | {took[0] * 1e3:.0f} / {took[1] * 1e3:.0f} ms",
            )  # fmt: skip


def processes(run: Run) -> Iterator[Row]:
    """Training steps of two DDP processes beside those of one, in processor time."""
    alone = _train(run, 1)[0]
    both = _train(run, 2)
    share = alone / max(both)
    yield (
        f"a step of batch {run.batch} in one process over one in each of two (gloo), processor time", "0.90",
        f"{share:.2f} | {alone * 1e3:.0f} / {max(both) * 1e3:.0f} ms",
    )  # fmt: skip


def _train(run: Run, number: int) -> list[float]:
    """Return the processor seconds of a step in each of some processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, __file__, run.backbone, str(run.batch)]
    ranks = [
        {"RANK": str(rank), "WORLD_SIZE": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        for rank in range(number)
    ]
    started = [
        subprocess.Popen(
            words, env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", **rank}, stdout=subprocess.PIPE, text=True
        )
        for rank in ranks
    ]
    return [float(process.communicate()[0].split()[-1]) for process in started]


def _worker(backbone: str, batch: int) -> None:
    """Train three steps as a DDP process, and print the processor seconds of one of the last two."""
    torch.manual_seed(0)
    run = Run(torch.device("cpu"), batch, backbone, lambda _one, _other: "")
    method: Any = method_of(run, 5).train()
    torch.distributed.init_process_group("gloo")

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.method = method

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return loss_of(self.method, x, y)

    alone = torch.distributed.get_world_size() == 1
    step: Any = Step() if alone else torch.nn.parallel.DistributedDataParallel(Step())
    optimiser = torch.optim.RAdam([p for p in method.parameters() if p.requires_grad], lr=1e-6)
    x, y = batch_of(run, method.clip.image_size)
    for count in range(3):
        if count == 1:
            before = time.process_time()
        optimiser.zero_grad()
        step(x, y).backward()
        optimiser.step()
    print((time.process_time() - before) / 2)


if __name__ == "__main__":
    _worker(sys.argv[1], int(sys.argv[2]))

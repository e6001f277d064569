"""Days in minutes: does a long fit, or many fits in one process, grow or slow down?

    python scripts/soak.py --steps 20000
    python scripts/soak.py --fits 200

Memory, file handles, threads and the processor's time for a step (other programs don't count) are taken at even
distances. After a tenth of the run, each gets a slope over the whole run with its 95 % interval. `flat` means that the
interval holds 0, or that even its upper end is below what `_MAY_GROW` allows. The exit code is 1 if anything grows.
"""

import argparse
import csv
import gc
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback
from scipy import stats

from numclip_lightning.cli import main as numclip

_ROWS = 200
# By how much the upper end of the interval may be above 0, over the whole run, as a share of the mean.
_MAY_GROW = {"memory_mib": 0.01, "handles": 0.01, "threads": 0.01, "step_ms": 0.1}


class Slope(NamedTuple):
    """How a quantity changes over a run.

    Attributes:
        mean: Its mean.
        change: By how much a line through it rises over the run.
        low: The lower end of the 95 % interval of that.
        high: The upper end.
    """

    mean: float
    change: float
    low: float
    high: float

    def is_flat(self, share: float) -> bool:
        """Return whether it does not rise, or by less than a share of the mean."""
        return self.low <= 0 or self.high <= share * self.mean


def usage() -> dict[str, float]:
    """Return what this process takes of the system (Linux): memory in MiB, open files, threads."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return {
        "memory_mib": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "handles": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
    }


def slope_of(values: Sequence[float], blocks: int = 20) -> Slope:
    """Fit a line through the means of equal blocks, whose errors are nearly independent, those of rows are not.

    Args:
        values: At even distances, `blocks` at least.
        blocks: How many.
    """
    means = [float(np.mean(block)) for block in np.array_split(np.asarray(values, dtype=np.float64), blocks)]
    line = stats.linregress(np.arange(blocks), means)
    # Of a constant, the error is not defined.
    error = float(np.nan_to_num(line.stderr))
    reach = float(stats.t.ppf(0.975, blocks - 2)) * error
    rises = (line.slope, line.slope - reach, line.slope + reach)
    return Slope(float(np.mean(means)), *(float(blocks * rise) for rise in rises))


class Watch(Callback):
    """Writes a row of usage and step time at even distances of a fit.

    Args:
        file: The CSV.
        every: Steps between two rows.
    """

    def __init__(self, file: str, every: int) -> None:
        self.file, self.every = Path(file), every
        self._since = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        """Begin to measure a step."""
        self._began = time.process_time()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Write a row."""
        self._since += time.process_time() - self._began
        if trainer.global_step % self.every == 0:
            write_row(self.file, {**usage(), "step_ms": 1000 * self._since / self.every})
            self._since = 0.0


def write_row(file: Path, row: dict[str, float]) -> None:
    """Append a row to a CSV, which gets its heading with the first one."""
    is_new = not file.exists()
    with file.open("a", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, row)
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def words_of(folder: Path) -> list[str]:
    """Return the words of a fit on generated scenes with the embedded CLIP, whose features are kept."""
    return [
        "fit", "--model=SORD", "--model.scale.minimum=1", "--model.scale.maximum=60", "--model.backbone=mini",
        "--model.learning_rates={image_encoder: 0, head: 0.001}", "--data=CountingDataModule", "--data.num_train=512",
        "--data.num_val=64", "--data.augment=false", "--data.batch_size=16", "--data.num_workers=0",
        "--model.lr_scheduler=null", "--report=false", "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
        f"--trainer.default_root_dir={folder}",
    ]  # fmt: skip


def long_fit(folder: Path, file: Path, steps: int) -> None:
    """Run one fit with a validation an epoch (32 steps), a row of the log every 10 steps, a checkpoint every 500."""
    watch = ["--trainer.callbacks+=soak.Watch", f"--trainer.callbacks.file={file}"]
    watch.append(f"--trainer.callbacks.every={max(steps // _ROWS, 1)}")
    length = [f"--trainer.max_epochs={-(-steps // 32)}", "--checkpoint.every_n_train_steps=500"]
    if code := numclip([*words_of(folder), *watch, *length]):
        raise SystemExit(code)


def many_fits(folder: Path, file: Path, fits: int) -> None:
    """Run fits of one epoch of two steps one after another in this process."""
    small = ["--data.num_train=32", "--data.num_val=16"]
    for _ in range(fits):
        began = time.process_time()
        if code := numclip([*words_of(folder), *small, "--trainer.max_epochs=1"]):
            raise SystemExit(code)
        gc.collect()
        write_row(file, {**usage(), "step_ms": 1000 * (time.process_time() - began)})


def report(file: Path) -> bool:
    """Print a line for each quantity, after the first tenth of its rows; return whether all are flat."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    rows = rows[len(rows) // 10 :]
    flat = True
    for name, share in _MAY_GROW.items():
        found = slope_of([float(row[name]) for row in rows])
        flat &= found.is_flat(share)
        print(
            f"{name:<11} mean {found.mean:9.2f}  change over the run {found.change:+8.3f} "
            f"(95 % {found.low:+.3f} to {found.high:+.3f})  {'flat' if found.is_flat(share) else 'GROWS'}"
        )
    return flat


def main(args: Sequence[str] | None = None) -> int:
    """Run one of the two and report it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    kinds = parser.add_mutually_exclusive_group(required=True)
    kinds.add_argument("--steps", type=int, help="The steps of one fit.")
    kinds.add_argument("--fits", type=int, help="How many fits of an epoch.")
    given = parser.parse_args(args)
    with tempfile.TemporaryDirectory() as place:
        folder, file = Path(place), Path(place, "usage.csv")
        if given.steps:
            long_fit(folder, file, given.steps)
        else:
            many_fits(folder, file, given.fits)
        return 0 if report(file) else 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())

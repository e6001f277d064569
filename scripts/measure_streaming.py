"""Measure the memory and the speed of streamed predictions: lists of any length, features of nothing, a linear probe.

What is measured is all but images and their tower: the list, the loader, the method's answer, rows, and shards.

    python scripts/measure_streaming.py                      # 10,000, 100,000 and 1,000,000 rows
    python scripts/measure_streaming.py --rows 10000000
"""

import argparse
import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import Dataset

from numclip_lightning.data.base.types import Split
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.methods import LinearProbe
from numclip_lightning.runs.calibrating import Calibrate
from numclip_lightning.runs.prediction_shards import WriteShards

_NUMBERS = 8


class _Features(Dataset[dict[str, Any]]):
    """The same feature for every entry of a list."""

    def __init__(self, size: int) -> None:
        self._size, self._feature = size, torch.ones(_NUMBERS)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"features": self._feature, "index": torch.tensor(index)}


class _Data(ListDataModule):
    """A list whose images are never opened."""

    def dataset(self, split: Split) -> Any:
        return _Features(len(self.labels(split)))


def measure(rows: int, folder: Path) -> tuple[float, float, float, float]:
    """Predict a list; return seconds, and memory in MiB: before, with the list opened, and the most while predicting.

    Args:
        rows: The length of the list.
        folder: An empty folder.
    """
    place = folder / "list.txt"
    with place.open("w", encoding="utf-8") as file:
        file.writelines(f"images/{number:09d}.jpg\n" for number in range(rows))
    before = _memory("VmRSS")
    data = _Data(root=str(folder), predict_path=str(place), batch_size=1000, num_workers=0, check_images="none")
    data.setup("predict")
    opened = _memory("VmRSS")
    levels = [{"phrase": "few", "start": 0}, {"phrase": "some", "start": 5}, {"phrase": "many", "start": 10}]
    method = LinearProbe(scale={"minimum": 0, "maximum": 20, "levels": levels}, backbone=f"features:{_NUMBERS}")
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[WriteShards(folder / "rows", 100_000, Calibrate(coverage=None))],
    )  # fmt: skip
    # The most from here on: the system's mark is set back.
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    start = time.perf_counter()
    trainer.predict(method, datamodule=data, return_predictions=False)
    return time.perf_counter() - start, before, opened, _memory("VmHWM")


def _memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    print(
        "| rows | rows a second | MiB before | MiB with the list | MiB at most |\n| ---: | ---: | ---: | ---: | ---: |"
    )
    for number in parser.parse_args().rows:
        with tempfile.TemporaryDirectory() as name:
            seconds, before, opened, most = measure(number, Path(name))
        print(f"| {number:,} | {number / seconds:,.0f} | {before:.0f} | {opened:.0f} | {most:.0f} |", flush=True)

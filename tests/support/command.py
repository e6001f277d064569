"""`numclip` for tests: in this process, on generated lists and a tiny CLIP, its runs in a folder of the test's own."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from numclip_lightning.cli import main
from support.fake_data import make_list_dataset

# Odd, so that neither batches nor two processes divide them.
SIZES = {"train": 21, "val": 15, "test": 17}

# A configuration is complete without the flags below; these make it small.
TINY = ("--model.backbone=tiny-vit", "--model.pretrained=null", "--data.image_size=32", "--data.num_workers=0")


@dataclass(frozen=True)
class Numclip:
    """The command on images of 10 to 19 of something.

    Args:
        data: Where `make_data` wrote the images and lists.
        runs: Where the run folders go.
    """

    data: Path
    runs: Path

    @property
    def flags(self) -> list[str]:
        """A complete configuration."""
        return [
            "--model=NumCLIP",
            "--model.scale.minimum=10",
            "--model.scale.maximum=19",
            "--model.scale.levels=[{phrase: few, start: 10}, {phrase: some, start: 14}, {phrase: many, start: 17}]",
            "--data=ListDataModule",
            f"--data.root={self.data}",
            *(f"--data.{split}_file={split}.txt" for split in SIZES),
            "--data.batch_size=8",
            *TINY,
            *self.small,
        ]

    @property
    def small(self) -> list[str]:
        """What keeps a run small and in its place."""
        return [
            f"--trainer.default_root_dir={self.runs}",
            "--trainer.max_epochs=2",
            "--trainer.log_every_n_steps=1",
            "--trainer.accelerator=cpu",
            "--trainer.enable_model_summary=false",
        ]

    def __call__(self, subcommand: str, *words: str) -> Path:
        """Run a subcommand with the flags and further words; return its run folder."""
        return self.plain(subcommand, *self.flags, *words)

    def plain(self, *words: str) -> Path:
        """Run exactly these words, without a page at the end unless they ask for one; return the run folder."""
        asked = words[0] not in ("fit", "test") or any(word.startswith("--report") for word in words)
        with self.new_folder() as found:
            assert main([*words, *([] if asked else ["--report=false"])]) == 0
        return found[0]

    def try_out(self, *words: str) -> None:
        """Run one batch of everything, which keeps nothing."""
        assert main([*words, "--trainer.fast_dev_run=true"]) == 0

    @contextmanager
    def new_folder(self) -> Iterator[list[Path]]:
        """Yield a list that holds the one new run folder afterwards."""
        known, found = set(self.runs.glob("20*")), list[Path]()
        yield found
        found.extend(set(self.runs.glob("20*")) - known)
        assert len(found) == 1


def make_data(folder: Path, **sizes: int) -> Path:
    """Write the images and a list for each split; return the folder."""
    for split, size in {**SIZES, **sizes}.items():
        make_list_dataset(folder, size, name=f"{split}.txt")
    return folder


def config_of(run: Path) -> dict[str, Any]:
    """Return the resolved configuration of a run."""
    config: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    return config


def metrics_of(run: Path) -> dict[str, Any]:
    """Return the metrics of a run."""
    metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def rows_of(file: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def failure(*words: str) -> int:
    """Run what must fail; return the exit code, whether the parser or a run refused it."""
    try:
        return main(words)
    except SystemExit as stop:
        return int(stop.code or 0)

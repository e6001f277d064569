"""Compare what a method reads from several sets of looks at an image, by finished runs; prints a Markdown table.

    python scripts/compare_looks.py RUN... [--zooms 1.0625 1.125 1.1875] [--turns]

Each RUN is the folder of a fit with `test_time_augmentation`, as NumCLIP+ has it. A row has the mean absolute error
over the runs on the validation images, by which looks may be chosen, and on the test images. Mirror images are among
the looks wherever a run has them.
"""

import argparse
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch

from numclip_lightning.data.base import OrdinalDataModule, Split
from numclip_lightning.methods import OrdinalMethod
from numclip_lightning.runs.command import NumClipCLI

SPLITS: tuple[Split, ...] = ("val", "test")


class Looks(NamedTuple):
    """A set of looks: the image as it is, turned by quarters, and enlarged."""

    name: str
    turns: bool = False
    zoom: float = 1.0


def main() -> None:
    """Read every run with every set of looks, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of fits")
    parser.add_argument("--zooms", nargs="*", type=float, default=[1.0625, 1.125, 1.1875], help="of closer looks")
    parser.add_argument("--turns", action="store_true", help="look at turns by quarters too")
    words = parser.parse_args()
    sets = [Looks("whole"), *(Looks(f"whole, enlarged {zoom:g}", zoom=zoom) for zoom in words.zooms)]
    if words.turns:
        sets.append(Looks("turned by quarters", turns=True))
    errors: dict[tuple[Looks, Split], list[float]] = {(one, split): [] for one in sets for split in SPLITS}
    for run in words.runs:
        command = ["validate", f"--config={run / 'config.yaml'}", f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}"]
        cli = NumClipCLI(command, until="built")
        method, data = cli.model.eval(), cli.datamodule
        if not method.test_time_augmentation:
            parser.error(f"{run} looks once; fit with --model.test_time_augmentation=true")
        method.load_state_dict(torch.load(command[-1].partition("=")[2], weights_only=False)["state_dict"])
        data.setup("fit")
        data.setup("test")
        for one, split in errors:
            method.load_state_dict({**method.state_dict(), "shown": torch.tensor([float(one.turns), one.zoom])})
            errors[one, split].append(mean_error(method, data, split))
    print("| looks | validation | test |\n| --- | ---: | ---: |")
    for one in sets:
        print(f"| {one.name} | {fmean(errors[one, 'val']):.2f} | {fmean(errors[one, 'test']):.2f} |")


@torch.no_grad()
def mean_error(method: OrdinalMethod, data: OrdinalDataModule, split: Split) -> float:
    """Return the mean absolute error on a split."""
    loader = data.val_dataloader() if split == "val" else data.test_dataloader()
    errors = [(method(batch["image"]).value - batch["target"]).abs() for batch in loader]
    return torch.cat(errors).mean().item()


if __name__ == "__main__":
    main()

"""How well scores tell images that are not on a scale: each of five sets of images among each of the others.

python scripts/off_scale.py [--backbone mini] [--epochs 10] [--output FILE]

For each set, its training images teach the scores, and its test images are told from the test images of every other
set: AUROC and false positives at 95 % recall, with bootstrap intervals. Only the numbers of faces are shown, never an
image of one.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from numclip_lightning.methods.base import OrdinalMethod, Samples
from numclip_lightning.metrics.separation import Separation, separation
from numclip_lightning.runs.command import NumClipCLI
from numclip_lightning.runs.scale_scores import ScoreName, build_score

SETS = {
    "counting": ["--data.num_train=2000", "--data.num_val=200", "--data.num_test=500"],
    "faces": [],
    "fingers": [],
    "blood_cells": [],
    "tomatoes": [],
}
FILES = {"faces": "faces_mini"}


def built(name: str, overlay: str, backbone: str, *words: str, folder: str) -> NumClipCLI:
    """Build the fit of an overlay on a set."""
    return NumClipCLI(
        [
            "fit", "--config", f"configs/{FILES.get(name, name)}.yaml", "--config", f"configs/methods/{overlay}.yaml",
            f"--model.backbone={backbone}", "--model.pretrained=auto", "--data.augment=false", "--data.image_size=64",
            f"--trainer.default_root_dir={folder}", "--trainer.enable_progress_bar=false", *words,
            *SETS[name],
        ],
        until="built",
    )  # fmt: skip


@torch.no_grad()
def encoded(method: OrdinalMethod, data: Any, split: str) -> Samples:
    """Return the features of a split."""
    batches: Iterator[Any] = iter(DataLoader(data.dataset(split), batch_size=128))
    parts = [(batch["index"], method.encode_images(batch["image"]), batch["target"]) for batch in batches]
    return Samples(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


@torch.no_grad()
def scores(method: OrdinalMethod, name: ScoreName, train: Samples, tests: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the scores of the test images of every set."""
    score = build_score(name, method, train)
    return {other: score(features, method.decode_features(features)) for other, features in tests.items()}


def measured(backbone: str, epochs: int) -> Iterator[tuple[str, str, str, Separation]]:
    """Yield a set, another, a score, and how well it tells them."""
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: built(name, "clipn", backbone, f"--trainer.max_epochs={epochs}", folder=folder) for name in SETS}
        tests = {name: encoded(run.model.eval(), run.datamodule, "test").features for name, run in runs.items()}
        for name, run in runs.items():
            train = encoded(run.model, run.datamodule, "train")
            run.trainer.fit(run.model.train(), datamodule=run.datamodule)
            run.model.eval()
            for score in get_args(ScoreName):
                found = scores(run.model, score, train, tests)
                for other in SETS:
                    if other != name:
                        yield name, other, score, separation(found[name], found[other])


def table(rows: list[tuple[str, str, str, Separation]]) -> str:
    """Return a table in Markdown: a row for each pair of sets, a column for each score."""
    names: list[str] = list(get_args(ScoreName))
    cells = {(own, other, score): found for own, other, score, found in rows}
    lines = ["| on the scale | not on it | " + " | ".join(names) + " |", "| --- " * (2 + len(names)) + "|"]
    for own, other in dict.fromkeys((own, other) for own, other, _, _ in rows):
        shown = []
        for score in names:
            found = cells[own, other, score]
            area = f"{found.auroc:.3f} ({found.auroc_low:.3f} to {found.auroc_high:.3f})"
            shown.append(f"{area}; {found.false_positives:.0%}".replace("%", " %"))
        lines.append(f"| {own} | {other} | {' | '.join(shown)} |")
    means = [[found for _, _, score, found in rows if score == name] for name in names]
    cells_of_means = [f"{sum(found.auroc for found in own) / len(own):.3f}" for own in means]
    return "\n".join([*lines, f"| mean | | {' | '.join(cells_of_means)} |", ""])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="mini")
    parser.add_argument("--epochs", type=int, default=10, help="epochs that CLIPN's no prompts are learned for")
    parser.add_argument("--output", help="a file for the table too")
    given = parser.parse_args()
    text = table(list(measured(given.backbone, given.epochs)))
    print(text)
    if given.output:
        Path(given.output).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""Run the demo: a CLIP that knows quantity words and no numbers, before and after training with NumCLIP.

    python scripts/demo.py [--num-train 8000] [--epochs 4] [--folder runs/demo]

On configs/counting.yaml, without network: zero-shot with phrases, zero-shot with numbers, then NumCLIP, trained and
tested. Every step is a `numclip` command, which is printed before it runs. At the end there is a table, which also has
the result of guessing, and a picture.
"""

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from numclip_lightning.data.counting import CountingDataModule
from numclip_lightning.errors import NumClipError
from numclip_lightning.report.plots import plot_images, plot_predictions, plot_similarity
from numclip_lightning.runs.command import NumClipCLI
from numclip_lightning.runs.terminal import configure_logging, message_of
from numclip_lightning.scale import OrdinalScale

CONFIGS = Path(__file__).parents[1] / "configs"


class Result(NamedTuple):
    """The result of one method on the test scenes.

    Attributes:
        name: Its name in the table.
        accuracy: Share of scenes with the right phrase, 0..1.
        mae: Mean absolute error, in things.
        value: The predicted numbers, (N,).
        level: The predicted levels, (N,).
        prototypes: One for each prompt, (K, D) or (R, D).
    """

    name: str
    accuracy: float
    mae: float
    value: Tensor
    level: Tensor
    prototypes: Tensor


def config(name: str) -> str:
    """Return the flag for a file under configs/, relative to the working directory."""
    return f"--config={os.path.relpath(CONFIGS / name)}"


def run(name: str, words: Sequence[str], options: argparse.Namespace) -> tuple[Result, NumClipCLI]:
    """Run a `numclip` command that tests a method, and predict the test scenes with it.

    Returns:
        The result, and the command with its run folder.
    """
    subcommand, *flags = words
    words = [subcommand, config("counting.yaml"), *flags]
    words += [f"--data.num_{split}={getattr(options, f'num_{split}')}" for split in ("train", "val", "test")]
    words += [f"--trainer.default_root_dir={options.folder}", "--trainer.enable_model_summary=false"]
    print(f"\n== {name} ==\n$ numclip {shlex.join(words)}", flush=True)
    cli = NumClipCLI(words)
    figures = {key: cli.trainer.callback_metrics[key].item() for key in ("test_acc", "test_mae")}
    batches: Any = cli.trainer.predict(cli.model, dataloaders=cli.datamodule.predict_dataloader())
    value, level = (torch.cat([getattr(batch, part) for batch in batches]).cpu() for part in ("value", "level"))
    with torch.inference_mode():
        prototypes = cli.model.prototypes().cpu()
    return Result(name, figures["test_acc"], figures["test_mae"], value, level, prototypes), cli


def guess(data: CountingDataModule, scale: OrdinalScale) -> tuple[float, float]:
    """Measure guessing without images: always the most common training level, always the training median.

    Returns:
        The accuracy of the level, 0..1, and the mean absolute error of the median, in things.
    """
    train, test = (torch.tensor(data.labels(split).targets) for split in ("train", "test"))
    commonest = scale.to_level(train).mode().values
    accuracy = (scale.to_level(test) == commonest).double().mean().item()
    return accuracy, (test - train.double().quantile(0.5)).abs().mean().item()


def draw(results: Sequence[Result], data: CountingDataModule, scale: OrdinalScale, path: Path) -> None:
    """Write the picture: numbers and similarities before and after training, and a scene of each level."""
    words, numbers, trained = results
    targets = torch.tensor(data.labels("test").targets)
    figure = Figure(figsize=(11, 12), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, squeeze=False, height_ratios=[5, 4.6, 2.6]).ravel()
    for axes, result in zip(top.subplots(1, 2, sharex=True, sharey=True), (numbers, trained), strict=True):
        plot_predictions(axes, targets, result.value, scale.unit)
        axes.set_title(f"{result.name[0].upper()}{result.name[1:]}: MAE {result.mae:.1f} {scale.unit}")
        # Counts are spread evenly in the logarithm; each level begins at a tick.
        axes.set(xscale="log", yscale="log", aspect="equal")
        for axis in (axes.xaxis, axes.yaxis):
            ticks = [*scale.lower.tolist(), scale.maximum]
            axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.set_ticks([], minor=True)
        axes.grid(alpha=0.3)
    moved = (trained.prototypes @ trained.prototypes.T - words.prototypes @ words.prototypes.T).abs().max().item()
    # Words that are in order already move little, too little to see: so the title has the number.
    titles = ("Prototypes before training", f"Prototypes after training\n(largest change: {moved:.3f})")
    for axes, result, title in zip(middle.subplots(1, 2), (words, trained), titles, strict=True):
        plot_similarity(axes, result.prototypes, scale.phrases, title)
    levels = scale.to_level(targets).tolist()
    first = [levels.index(level) for level in sorted(set(levels))]
    images = torch.stack([data.dataset("test")[index]["image"] for index in first])
    phrases = [scale.phrases[level] for level in trained.level[first].tolist()]
    bottom.suptitle(f"The first test scene of each level, as {trained.name} reads it")
    plot_images(bottom.subplots(1, len(first), squeeze=False)[0], images, targets[first], trained.value[first], phrases)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def table(results: Sequence[Result], chance: tuple[float, float], scale: OrdinalScale) -> str:
    """Return the table: first the result of guessing, then a line for each method."""
    head = ("", f"accuracy over {scale.num_levels} phrases", f"MAE in {scale.unit}")
    guessing = ("guessing (the commonest phrase, the median)", f"{chance[0]:.3f}", f"{chance[1]:.2f}")
    rows = [head, guessing, *((result.name, f"{result.accuracy:.3f}", f"{result.mae:.2f}") for result in results)]
    return "\n".join(f"{name:<45}{accuracy:>23}{mae:>16}" for name, accuracy, mae in rows)


def demonstrate(options: argparse.Namespace) -> None:
    """Run all three, then print the table and write the picture."""
    zero_shot = ["test", config("methods/zero_shot.yaml")]
    fit = ["fit", f"--trainer.max_epochs={options.epochs}", "--test_after_fit=true"]
    words, _ = run("zero-shot with phrases", [*zero_shot, "--model.names=phrases"], options)
    numbers, _ = run("zero-shot with numbers", [*zero_shot, "--model.names=numbers"], options)
    trained, cli = run("NumCLIP", fit, options)
    results, scale, path = (words, numbers, trained), cli.model.scale, options.folder / "demo.png"
    draw(results, cli.datamodule, scale, path)
    print(
        f"\n{options.num_test} test scenes with 1 to 60 things; NumCLIP has learned from {options.num_train} others.\n"
    )
    print(table(results, guess(cli.datamodule, scale), scale))
    print("\nThe number of a phrase is the middle of its level, so zero-shot with phrases has an MAE too.")
    print(f"picture:    {path}\nrun folder: {cli.folder}")


def main(args: Sequence[str] | None = None) -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/demo"), help="where the picture and the runs go")
    parser.add_argument("--num-train", type=int, default=8000, help="training scenes")
    parser.add_argument("--num-val", type=int, default=1000, help="validation scenes")
    parser.add_argument("--num-test", type=int, default=2000, help="test scenes")
    parser.add_argument("--epochs", type=int, default=4, help="how often NumCLIP sees each training scene")
    options = parser.parse_args(args)
    configure_logging()
    try:
        demonstrate(options)
    except NumClipError as error:
        parser.error(message_of(error))


if __name__ == "__main__":
    main()

"""Draw the figures of docs/explanation/numclip.md from a real run: NumCLIP, trained for a minute on generated scenes.

    python scripts/draw_numclip.py [FOLDER]

It fits configs/counting.yaml, shortened, with the small CLIP in the package, so that it needs no file and no network.
The figures are SVGs of 400 pixels, made to be read on a phone too. What they show is printed as well.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from numclip_lightning.data.counting import CountingDataModule
from numclip_lightning.losses import distance_weights
from numclip_lightning.methods import NumCLIP, ZeroShotCLIP
from numclip_lightning.runs.command import NumClipCLI
from numclip_lightning.scale import OrdinalScale

REPOSITORY = Path(__file__).resolve().parents[1]
FIT = ("fit", f"--config={REPOSITORY / 'configs/counting.yaml'}", "--data.num_train=4000", "--data.num_val=300",
       "--data.num_test=300", "--trainer.max_epochs=4", "--trainer.enable_model_summary=false",
       "--trainer.enable_progress_bar=false", "--test_after_fit=true")  # fmt: skip
_SCENES = (3, 8, 20, 45)
_BLUE, _RED, _GREY = "#3f6fb5", "#b4380f", "#5b6472"


def similarities(prototypes: Tensor) -> Tensor:
    """Return the cosine similarities of prototypes.

    Args:
        prototypes: Shape (K, D).

    Returns:
        Shape (K, K).
    """
    directions = F.normalize(prototypes.detach().float().cpu(), dim=-1)
    return directions @ directions.T


def draw_similarities(matrix: Tensor, labels: list[str], title: str) -> Figure:
    """Return the picture of a similarity matrix; where few prompts are compared, with its numbers.

    Args:
        matrix: Shape (K, K).
        labels: What each prompt names, K of them.
        title: The title of the picture.
    """
    figure = Figure(figsize=(4, 3.7), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(matrix.numpy(), cmap="cividis", vmin=0, vmax=1)
    figure.colorbar(drawn, ax=axes, label="cosine similarity", shrink=0.85)
    shown = range(len(labels)) if len(labels) < 12 else range(0, len(labels), 10)
    axes.set_xticks(shown, [labels[place] for place in shown], rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(shown, [labels[place] for place in shown])
    axes.set_title(title)
    if len(labels) < 12:
        for row, column in torch.cartesian_prod(torch.arange(len(labels)), torch.arange(len(labels))).tolist():
            value = matrix[row, column].item()
            colour = "black" if value > 0.55 else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    return figure


def draw_answers(method: NumCLIP, data: CountingDataModule, scale: OrdinalScale) -> Figure:
    """Return the picture of some scenes: the probability of each phrase, and the number before and after the fine step.

    Args:
        method: The trained method, in evaluation.
        data: The scenes; those of its test split are shown.
        scale: The scale.
    """
    scenes = data.dataset("test")
    chosen = [int((scenes.targets - count).abs().argmin()) for count in _SCENES]
    with torch.inference_mode():
        output = method(torch.stack([scenes[index]["image"] for index in chosen]))
    shares = output.logits.softmax(dim=1)
    coarse = shares @ scale.centers.to(shares)
    figure = Figure(figsize=(4, 6.6), layout="constrained")
    grid = figure.subplots(len(chosen), 2, width_ratios=[1, 2.2])
    for (left, right), index, share, mean, value in zip(grid, chosen, shares, coarse, output.value, strict=True):
        true = scenes.targets[index].item()
        left.imshow(scenes.pixels[index].numpy())
        left.set_title(f"{true:g} things", fontsize=9)
        left.axis("off")
        right.barh(range(len(share)), share.numpy(), color=_BLUE, height=0.7)
        right.set_yticks(range(len(share)), scale.phrases, fontsize=8)
        right.set(xlim=(0, 1), xticks=[])
        right.invert_yaxis()
        right.spines[["top", "right", "bottom"]].set_visible(False)
        right.set_title(f"centres: {mean:.1f}   fine: {value:.1f}", fontsize=9, color=_RED)
        for place, part in enumerate(share.tolist()):
            if part >= 0.05:
                right.text(part + 0.02, place, f"{part:.0%}", va="center", fontsize=8, color=_GREY)
        print(f"{true:g} things: mean of the centres {mean:.2f}, fine {value:.2f}")
    return figure


def draw_weights(phrases: list[str]) -> Figure:
    """Return the picture of what each wrong phrase counts in FCRC, for two true ones.

    Args:
        phrases: The words of the levels.
    """
    weights = distance_weights(len(phrases))
    figure = Figure(figsize=(4, 4.4), layout="constrained")
    for axes, true in zip(figure.subplots(2, 1, sharex=True), (0, len(phrases) // 2), strict=True):
        _draw_row(axes, weights[true], true, phrases)
    axes.set_xlabel("weight (1: plain contrast)")
    return figure


def _draw_row(axes: Axes, weights: Tensor, true: int, phrases: list[str]) -> None:
    places = [place for place in range(len(phrases)) if place != true]
    axes.barh(places, weights[places].numpy(), color=_BLUE, height=0.7)
    axes.axvline(1, color=_GREY, linestyle="--", linewidth=1)
    for place in places:
        axes.text(weights[place].item() + 0.03, place, f"{weights[place]:.2f}", va="center", fontsize=8, color=_GREY)
    axes.text(0.03, true, "the right one", va="center", fontsize=8, color=_RED)
    axes.set_yticks(range(len(phrases)), phrases, fontsize=8)
    axes.set_title(f'the image shows "{phrases[true]}"', fontsize=9)
    axes.set_xlim(0, 2)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)


def draw(method: NumCLIP, data: CountingDataModule) -> dict[str, Figure]:
    """Return all figures by name.

    Args:
        method: The trained method, in evaluation.
        data: Its scenes.
    """
    scale = method.scale
    same: dict[str, Any] = {"scale": method.hparams["scale"], "backbone": "mini", "pretrained": "auto"}
    with torch.inference_mode():
        numbers = similarities(ZeroShotCLIP(**same, names="numbers").eval().prototypes())
        before, after = (similarities(one.prototypes()) for one in (NumCLIP(**same).eval(), method))
    print(f"largest change of a similarity: {(after - before).abs().max():.3f}")
    edges = zip(scale.lower.tolist(), scale.upper.tolist(), strict=True)
    ranges = [f"{low:g}" if low == high else f"{low:g}-{high:g}" for low, high in edges]
    return {
        "numbers": draw_similarities(numbers, scale.numbers, "a prompt for each number, untrained"),
        "before": draw_similarities(before, ranges, "phrases, untrained"),
        "after": draw_similarities(after, ranges, "phrases, trained"),
        "answers": draw_answers(method, data, scale),
        "weights": draw_weights(list(scale.phrases)),
    }


def main(folder: Path) -> None:
    """Fit, and write the figures into a folder."""
    # Text stays text, and the same run gives the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "numclip", "font.size": 9, "axes.titlesize": 10})
    with tempfile.TemporaryDirectory() as runs:
        cli = NumClipCLI([*FIT, f"--trainer.default_root_dir={runs}"])
    method, data = cli.model.cpu().eval(), cli.datamodule
    assert isinstance(method, NumCLIP)
    assert isinstance(data, CountingDataModule)
    print(f"test_mae {cli.trainer.callback_metrics['test_mae']:.2f} things")
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in draw(method, data).items():
        file = folder / f"{name}.svg"
        figure.savefig(file, metadata={"Date": None})
        print(f"{file}: {file.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "docs" / "explanation" / "numclip")

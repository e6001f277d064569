"""Draw the figures of docs/explanation/numclip.md from the runs of `make demo`: NumCLIP on generated scenes.

    python scripts/draw_numclip.py [FOLDER OF THE RUNS] [FOLDER OF THE FIGURES]

Everything is read from the files of the runs (`runs/demo` by default): similarities of prompts before and after
training, predictions of the test scenes. The figures are SVGs of 400 pixels, made to be read on a phone too.
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from numclip_lightning.data.counting.scenes import make_scenes, paint
from numclip_lightning.losses import distance_weights
from numclip_lightning.scale import OrdinalScale

REPOSITORY = Path(__file__).resolve().parents[1]
Matrix = npt.NDArray[np.float64]
# The counts of the scenes that are shown.
_COUNTS = (3, 8, 20, 45)
_BLUE, _RED, _GREY = "#3f6fb5", "#b4380f", "#5b6472"


def draw_similarities(matrix: Matrix, labels: list[str], title: str) -> Figure:
    """Return the picture of a similarity matrix; where few prompts are compared, with its numbers.

    Args:
        matrix: Shape (K, K).
        labels: What each prompt names, K of them.
        title: The title of the picture.
    """
    figure = Figure(figsize=(4, 3.7), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(matrix, cmap="cividis", vmin=0, vmax=1)
    figure.colorbar(drawn, ax=axes, label="cosine similarity", shrink=0.85)
    shown = range(len(labels)) if len(labels) < 12 else range(0, len(labels), 10)
    axes.set_xticks(shown, [labels[place] for place in shown], rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(shown, [labels[place] for place in shown])
    axes.set_title(title)
    if len(labels) < 12:
        for (row, column), value in np.ndenumerate(matrix):
            colour = "black" if value > 0.55 else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    return figure


def draw_answers(predictions: pd.DataFrame, scale: OrdinalScale) -> Figure:
    """Return the picture of some scenes: the probability of each phrase, and the number before and after the fine step.

    Args:
        predictions: The `test_predictions.csv` of the fit.
        scale: Its scale.
    """
    chosen = [(predictions["target"] - count).abs().idxmin() for count in _COUNTS]
    figure = Figure(figsize=(4, 6.6), layout="constrained")
    for (left, right), index in zip(figure.subplots(len(chosen), 2, width_ratios=[1, 2.2]), chosen, strict=True):
        row = predictions.loc[index]
        true, shares = int(row["target"]), np.array([row[f"p({phrase})"] for phrase in scale.phrases], dtype=float)
        # The scenes are drawn again, from the number in their name.
        (scene,) = make_scenes(0, "test", [int(row["path"].rpartition("/")[2]) - 1], [true])
        left.imshow(paint(scene))
        left.set_title(f"{true} things", fontsize=9)
        left.axis("off")
        coarse = float(shares @ scale.centers.numpy())
        _draw_shares(right, shares, scale.phrases)
        right.set_title(f"mean of centres {coarse:.1f}, fine {row['value']:.1f}", fontsize=9, color=_RED)
        print(f"{true} things: mean of the centres {coarse:.2f}, fine {row['value']:.2f}")
    return figure


def _draw_shares(axes: Axes, shares: Matrix, phrases: list[str]) -> None:
    """Draw a bar for the probability of each phrase."""
    axes.barh(range(len(shares)), shares, color=_BLUE, height=0.7)
    axes.set_yticks(range(len(shares)), phrases, fontsize=8)
    axes.set(xlim=(0, 1.15), xticks=[])
    axes.invert_yaxis()
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    for place, part in enumerate(shares):
        if part >= 0.05:
            axes.text(part + 0.02, place, f"{part:.0%}", va="center", fontsize=8, color=_GREY)


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


def main(runs: Path, folder: Path) -> None:
    """Read the runs of the demo, and write the figures."""
    # Text stays text, and the same runs give the same files.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "numclip", "font.size": 9, "axes.titlesize": 10})
    *_, fit = sorted(runs.glob("*-fit-*"))
    untrained = [_similarities(run) for run in sorted(runs.glob("*-test-*"))]
    config = yaml.safe_load((fit / "config.yaml").read_text(encoding="utf-8"))
    scale = OrdinalScale.of(config["model"]["init_args"]["scale"])
    before, numbers = (next(m for m in reversed(untrained) if len(m) == n) for n in (scale.num_levels, scale.num_ranks))
    after = _similarities(fit)
    print(f"largest change of a similarity: {abs(after - before).max():.3f}; of numbers: {numbers.min():.3f} at least")
    edges = zip(scale.lower.tolist(), scale.upper.tolist(), strict=True)
    ranges = [f"{low:g}" if low == high else f"{low:g}-{high:g}" for low, high in edges]
    figures = {
        "numbers": draw_similarities(numbers, scale.numbers, "a prompt for each number, untrained"),
        "before": draw_similarities(before, ranges, "phrases, untrained"),
        "after": draw_similarities(after, ranges, "phrases, trained"),
        "answers": draw_answers(pd.read_csv(fit / "test_predictions.csv"), scale),
        "weights": draw_weights(scale.phrases),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        print(f"{name}.svg: {(folder / f'{name}.svg').stat().st_size / 1e3:.0f} kB")


def _similarities(run: Path) -> Matrix:
    """Return the similarities of a run's prompts, (K, K)."""
    return np.array(json.loads((run / "prototypes.json").read_text(encoding="utf-8"))["similarity"])


if __name__ == "__main__":
    given = [Path(word) for word in sys.argv[1:]]
    main(*given, *(REPOSITORY / "runs" / "demo", REPOSITORY / "docs" / "explanation" / "numclip")[len(given) :])

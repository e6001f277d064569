"""Pictures of one run as PNG files, for loggers and slides: what it has learned, and where it is wrong."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from numclip_lightning.metrics.extremes import extremes
from numclip_lightning.report.html.gallery import Loader
from numclip_lightning.report.plots import plot_grid, plot_predictions
from numclip_lightning.report.reported import ReportedRun

__all__ = ["draw_curves_of_run", "draw_pictures"]

_DPI = 110
_SIDE = 160
_COLUMNS = 4


def draw_pictures(run: ReportedRun, folder: Path, split: str, load: Loader | None) -> dict[str, Path]:
    """Draw what the predictions of a run show.

    Args:
        run: The run; without true numbers nothing is drawn.
        folder: Where to write; created here.
        split: What the images are, the beginning of each name.
        load: Where images come from; None shows none.

    Returns:
        The file of each picture by its name: `val_predicted`, `val_confusion` (of runs with levels),
        `val_prototypes` (of runs that read words) and `val_worst`.
    """
    if not run.has_truth or run.frame.empty:
        return {}
    drawn: dict[str, Figure | None] = {
        "predicted": _predicted(run),
        "confusion": _confusion(run),
        "prototypes": _prototypes(run),
        "worst": _worst(run, load) if load else None,
    }
    return _save({f"{split}_{name}": figure for name, figure in drawn.items() if figure}, folder)


def draw_curves_of_run(metrics: Path, folder: Path) -> dict[str, Path]:
    """Draw all metrics of a fit against its epochs, and rates and gradients against its steps.

    Args:
        metrics: The `metrics.csv` of the run.
        folder: Where to write; created here.

    Returns:
        The file `curves`; empty if nothing was measured.
    """
    with metrics.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    curves = _curves(rows)
    if not curves:
        return {}
    high = math.ceil(len(curves) / _COLUMNS)
    figure, axes = _figure(3.0 * min(len(curves), _COLUMNS), 2.3 * high, high, min(len(curves), _COLUMNS))
    for one, (name, lines_of) in zip(axes, curves.items(), strict=False):
        for label, (places, numbers) in lines_of.items():
            one.plot(places, numbers, marker="o" if len(places) < 30 else "", markersize=3, label=label)
        one.set_title(name, fontsize="small")
        one.tick_params(labelsize="x-small")
        one.grid(alpha=0.3)
        if len(lines_of) > 1:
            one.legend(fontsize="x-small", frameon=False)
        one.set_xlabel("step" if _is_of_steps(name) else "epoch", fontsize="x-small")
    for one in axes[len(curves) :]:
        one.set_axis_off()
    return _save({"curves": figure}, folder)


_Line = tuple[list[float], list[float]]


def _curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, _Line]]:
    """Return the lines of each drawing: train and validation together, all rates together."""
    curves: dict[str, dict[str, _Line]] = {}
    for column in rows[0] if rows else ():
        split, _, name = column.partition("_")
        if column in ("epoch", "step"):
            continue
        if split not in ("train", "val"):
            split, name = (column.removeprefix("lr/"), "learning rates") if column.startswith("lr/") else ("", column)
        place = "step" if _is_of_steps(name) else "epoch"
        points = [(float(row[place]), float(row[column])) for row in rows if row[column] and row[place]]
        points = [point for point in points if math.isfinite(point[1])]
        if points and not column.startswith("test_"):
            curves.setdefault(name, {})[split] = ([x for x, _ in points], [y for _, y in points])
    # The loss and its parts first, then what is measured, then what is of steps.
    return dict(sorted(curves.items(), key=lambda one: (_is_of_steps(one[0]), not one[0].startswith("loss"))))


def _is_of_steps(name: str) -> bool:
    return name in ("learning rates", "grad_norm", "images_per_second")


def _predicted(run: ReportedRun) -> Figure:
    figure, (axes,) = _figure(5, 4.6)
    target, value = (torch.tensor(run.frame[name].to_numpy("float64")) for name in ("target", "value"))
    plot_predictions(axes, target, value, run.unit)
    return figure


def _confusion(run: ReportedRun) -> Figure | None:
    if (counts := run.confusion) is None or not counts.sum():
        return None
    shares = counts / np.maximum(counts.sum(axis=1), 1)[:, None]
    side = _side(len(counts))
    figure, (axes,) = _figure(side, side)
    plot_grid(axes, shares, run.phrases, "share of the true level", (0, 1), "Blues")
    axes.set_xlabel("read as")
    axes.set_ylabel("true level")
    if len(counts) <= 12:
        for (row, column), number in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{number}", ha="center", va="center", fontsize="small", color=colour)
    return figure


def _prototypes(run: ReportedRun) -> Figure | None:
    if run.prototypes is None or len(run.prototypes[0]) < 2:
        return None
    phrases, similarity = run.prototypes
    side = _side(len(phrases))
    figure, (axes,) = _figure(side, side)
    plot_grid(axes, similarity, list(phrases), "cosine similarity", (-1, 1), "RdBu_r")
    return figure


def _worst(run: ReportedRun, load: Loader) -> Figure | None:
    places = extremes(run.errors).worst.tolist()
    pixels = load(run, [str(run.frame["path"][place]) for place in places])
    shown = [place for place in places if str(run.frame["path"][place]) in pixels]
    if not shown:
        return None
    high = math.ceil(len(shown) / _COLUMNS)
    figure, axes = _figure(2.2 * _COLUMNS, 2.7 * high, high, _COLUMNS)
    for one in axes:
        one.set_axis_off()
    for one, place in zip(axes, shown, strict=False):
        row = run.frame.loc[place]
        image = Image.fromarray(pixels[str(row["path"])])
        image.thumbnail((_SIDE, _SIDE))
        one.imshow(np.asarray(image))
        one.set_title(f"true {row['target']:g}, read {row['value']:.4g}", fontsize="small")
    return figure


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _side(levels: int) -> float:
    """Return the inches of each side of a table of levels by levels."""
    return max(4.6, min(0.5 * levels + 2, 9))


def _save(figures: Mapping[str, Figure], folder: Path) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.png" for name in figures}
    for name, figure in figures.items():
        figure.savefig(files[name], dpi=_DPI)
    return files

"""The drawings of the page, each with its words: predicted against true, errors by value and level, confusion, ..."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from numclip_lightning.report.html.drawing import ACCENT, HEAT, INK, MARK, SOFT, drawing, plain, styled, to_svg
from numclip_lightning.report.html.elements import Figure, percent

__all__ = [
    "draw_agreement",
    "draw_errors_by_value",
    "draw_grid",
    "draw_pit",
    "draw_reliability",
    "draw_selective",
    "draw_spread_of_values",
]

# Bins of fewer images are not joined by a line.
_ENOUGH = 10

_Numbers = NDArray[np.float64]
# More points are counted in cells: as points they would hide each other, and be megabytes.
_MOST_POINTS = 600
_CELLS = 44


@styled
def draw_agreement(target: _Numbers, value: _Numbers, unit: str, ends: tuple[float, float]) -> Figure:
    """Draw predicted against true numbers: points, or the number of images in cells where there are many.

    Args:
        target: The true numbers.
        value: The predicted ones.
        unit: Their unit.
        ends: The ends of both axes, so that drawings beside each other can be compared.
    """
    figure, (axes,) = drawing(5.2, 4.2)
    low, high = ends
    if len(target) <= _MOST_POINTS:
        axes.scatter(target, value, s=12, color=ACCENT, alpha=0.45, linewidths=0)
        how = "a point for each image"
    else:
        counts, xs, ys = np.histogram2d(target, value, bins=_edges(target, value))
        shown = np.ma.masked_equal(counts.T, 0)
        mesh = axes.pcolormesh(xs, ys, np.ma.log10(shown), cmap=HEAT, rasterized=True, vmin=0)
        bar = figure.colorbar(mesh, ax=axes, shrink=0.7, pad=0.02)
        most = int(np.ceil(np.log10(max(counts.max(), 2))))
        bar.set_ticks(list(range(most + 1)), labels=[f"{10**power:,}" for power in range(most + 1)])
        bar.ax.set_ylim(0, np.log10(max(counts.max(), 2)))
        bar.outline.set_visible(False)
        bar.set_label("images in a cell")
        how = "the number of images in each cell"
    axes.plot([low, high], [low, high], color=MARK, linewidth=1.2, linestyle="--")
    axes.grid(visible=True, axis="both")
    margin = 0.03 * (high - low) or 1
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(low - margin, high + margin)
    _names(axes, f"true{_in(unit)}", f"predicted{_in(unit)}")
    correlation = np.corrcoef(target, value)[0, 1] if target.std() and value.std() else float("nan")
    alt = (
        f"Predicted against true numbers of {len(target):,} images, {how}. True from {target.min():g} to "
        f"{target.max():g}, predicted from {value.min():.4g} to {value.max():.4g}; correlation {correlation:.3f}."
    )
    return Figure(to_svg(figure, alt), f"{len(target):,} images, {how}; on the dashed line both are equal.")


def _edges(target: _Numbers, value: _Numbers) -> list[_Numbers]:
    """Return the edges of cells in both directions: one for each value where these are few and even."""
    found = []
    distinct = np.unique(target)
    steps = np.diff(distinct)
    low, high = float(min(target.min(), value.min())), float(max(target.max(), value.max()))
    for numbers in (target, value):
        if numbers is target and 1 < len(distinct) <= _CELLS and np.allclose(steps, steps[0]):
            found.append(np.append(distinct - steps[0] / 2, distinct[-1] + steps[0] / 2))
        else:
            found.append(np.linspace(low, high if high > low else low + 1, _CELLS + 1))
    return found


@styled
def draw_errors_by_value(table: pd.DataFrame, unit: str, ends: tuple[float, float]) -> Figure:
    """Draw the mean absolute error and the bias in bins of the true number, and below how many images these are of.

    Args:
        table: See `errors_in_parts`.
        unit: The unit of the numbers.
        ends: The ends of the axis of errors, so that drawings beside each other can be compared.
    """
    figure, (axes, below) = drawing(5.2, 4.2, (4, 1))
    names = table["name"].tolist()
    mae, low, high, bias, images = (
        table[name].to_numpy("float64") for name in ("mae", "low", "high", "bias", "images")
    )
    places = np.arange(len(names))
    whiskers = np.nan_to_num(np.stack([mae - low, high - mae]).clip(min=0))
    axes.bar(places, mae, color=ACCENT, alpha=0.85, label="mean absolute error", width=0.72)
    axes.errorbar(places, mae, yerr=whiskers, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
    axes.plot(places, bias, "D", color=MARK, markersize=4, label="bias: predicted minus true")
    axes.axhline(0, color=SOFT, linewidth=0.8)
    margin = 0.05 * (ends[1] - ends[0])
    axes.set_ylim(ends[0] - margin, ends[1] + margin)
    axes.legend(loc="best")
    axes.set_ylabel(plain(f"error{_in(unit)}"))
    below.bar(places, images, color=SOFT, alpha=0.6, width=0.72)
    below.set_ylabel("images")
    below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    _ticks(below, names)
    below.set_xlabel(plain(f"true{_in(unit)}"))
    worst = int(np.nanargmax(mae))
    alt = (
        f"Mean absolute error in {len(names)} bins of the true number. Largest at {names[worst]}: {mae[worst]:.3g}"
        f"{_after(unit)} over {int(images[worst])} images; smallest {np.nanmin(mae):.3g}."
    )
    return Figure(to_svg(figure, alt), "Bars: mean absolute error with 95 % intervals. Diamonds: bias.")


@styled
def draw_spread_of_values(values: _Numbers, unit: str) -> Figure:
    """Draw how the predicted numbers are spread."""
    figure, (axes,) = drawing(5.2, 2.8)
    axes.hist(values, bins=min(40, max(5, len(np.unique(values)))), color=ACCENT, alpha=0.85)
    _names(axes, f"predicted{_in(unit)}", "images")
    alt = (
        f"Histogram of {len(values):,} predicted numbers, from {values.min():.4g} to {values.max():.4g}, "
        f"median {np.median(values):.4g}{_after(unit)}."
    )
    return Figure(to_svg(figure, alt), f"The predicted numbers of {len(values):,} images.")


@styled
def draw_reliability(said: _Numbers, right: _Numbers, images: _Numbers, ece: float) -> Figure:
    """Draw the share of right levels against the probability that was given, and how many images each bin has."""
    figure, (axes, below) = drawing(5.2, 4.2, (4, 1))
    axes.plot([0, 1], [0, 1], color=MARK, linestyle="--", linewidth=1.2, label="as sure as right")
    enough = images >= _ENOUGH
    axes.plot(said[enough], right[enough], color=ACCENT, marker="o", markersize=5, linewidth=1.4, label="this run")
    axes.plot(said[~enough], right[~enough], color=ACCENT, marker="o", markersize=5, linewidth=0, fillstyle="none")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.04)
    axes.legend(loc="upper left")
    axes.set_ylabel("share that is right")
    below.bar(said, images, color=SOFT, alpha=0.6, width=0.03)
    below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    below.set_ylabel("images")
    below.set_xlabel("probability of the most probable level")
    # A bin of two images may be anywhere.
    gap = np.abs(said - right) * (enough if enough.any() else 1)
    worst = int(gap.argmax())
    alt = (
        f"Reliability of the levels in {len(said)} bins. Where the run says {percent(said[worst])}, "
        f"{percent(right[worst])} are right, the largest distance. Expected calibration error {100 * ece:.1f} %."
    )
    few = "" if enough.all() else f" Hollow points have fewer than {_ENOUGH} images."
    return Figure(to_svg(figure, alt), f"Below the dashed line the run is surer than it is right.{few}")


@styled
def draw_pit(table: pd.DataFrame) -> Figure:
    """Draw where true numbers lie in their predicted distributions, a bar for each bin."""
    figure, (axes,) = drawing(5.2, 2.8)
    shares = table["share"].to_numpy("float64")
    width = (table["high"] - table["low"]).to_numpy("float64")
    axes.bar(table["low"], 100 * shares, width=width * 0.94, align="edge", color=ACCENT, alpha=0.85)
    level = 100 / len(table)
    axes.axhline(level, color=MARK, linestyle="--", linewidth=1.2)
    _names(axes, "place of the true number in its distribution, 0 lowest", "images (%)")
    alt = (
        f"Histogram of where true numbers lie in their distributions, {len(table)} bins. Flat would be {level:g} % "
        f"each; the lowest bin has {100 * shares[0]:.1f} %, the highest {100 * shares[-1]:.1f} %."
    )
    return Figure(to_svg(figure, alt), "The dashed line is a calibrated run. Sloped: numbers are too low, or too high.")


@styled
def draw_selective(table: pd.DataFrame, unit: str) -> Figure:
    """Draw the mean absolute error of the surest images."""
    figure, (axes,) = drawing(5.2, 2.8)
    axes.plot(100 * table["share"], table["mae"], color=ACCENT, marker="o", markersize=4, linewidth=1.4)
    axes.set_ylim(0, 1.08 * float(table["mae"].max()) or 1)
    axes.set_xlim(0, 103)
    _names(axes, "surest images (%)", f"mean absolute error{_in(unit)}")
    alt = (
        f"Mean absolute error of the surest {100 * table['share'].iloc[0]:g} % of the images: "
        f"{table['mae'].iloc[0]:.3g}; of all: {table['mae'].iloc[-1]:.3g}{_after(unit)}."
    )
    return Figure(to_svg(figure, alt), "From the surest tenth on the left to all images on the right.")


@styled
def draw_grid(
    numbers: _Numbers, names: Sequence[str], x: str, y: str, alt: str, caption: str, ends: tuple[float, float]
) -> Figure:
    """Draw a square of numbers as strength of a colour."""
    figure, (axes,) = drawing(5.2, 4.6)
    picture = axes.imshow(numbers, cmap=HEAT, vmin=ends[0], vmax=ends[1], rasterized=True, interpolation="nearest")
    axes.grid(visible=False)
    shown = np.unique(np.linspace(0, len(names) - 1, min(len(names), 12)).round().astype("int64"))
    labels = [plain(_short(names[place])) for place in shown]
    axes.set_xticks(shown, labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(shown, labels)
    _names(axes, x, y)
    bar = figure.colorbar(picture, ax=axes, shrink=0.75)
    bar.outline.set_visible(False)
    return Figure(to_svg(figure, alt), caption)


def _names(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(plain(x))
    axes.set_ylabel(plain(y))


def _ticks(axes: Axes, names: Sequence[str]) -> None:
    """Name the bars; of many, some."""
    step = max(1, -(-len(names) // 14))
    places = list(range(0, len(names), step))
    labels = [plain(_short(names[place])) for place in places]
    slanted = max(map(len, labels), default=0) * len(labels) > 56
    axes.set_xticks(places, labels)
    if slanted:
        axes.tick_params(axis="x", labelrotation=40)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")


def _short(name: str, most: int = 18) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _in(unit: str) -> str:
    return f" ({unit})" if unit else ""


def _after(unit: str) -> str:
    return f" {unit}" if unit else ""

"""Pictures of a benchmark: a metric against the number of shots, and the error against the target.

As in `plots`, every function draws on given axes and nothing uses `matplotlib.pyplot`.
"""

from collections.abc import Sequence
from itertools import cycle, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from numclip_lightning.metrics import Measure
from numclip_lightning.report.guessing import GUESSES
from numclip_lightning.report.ranks import RankComparison, undecided

__all__ = [
    "draw_curves",
    "draw_errors",
    "draw_ranks",
    "draw_score_curves",
    "save_curves",
    "save_errors",
    "save_ranks",
    "save_score_curves",
]

# Errors that differ by more than this factor are drawn on a logarithmic axis, with a margin below them.
_MOST_RATIO = 10
_MARGIN = 0.85
# Ten colours in four shapes: 40 methods that look different, in print too; more start again.
_SHAPES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))
_LOOKS: list[dict[str, Any]] = [
    {"linestyle": line, "marker": marker, "color": colour, "markersize": 4, "linewidth": 1.4}
    for (line, marker), colour in product(_SHAPES, colormaps["tab10"].colors)  # type: ignore[attr-defined]
]


def draw_curves(axes: Axes, cells: pd.DataFrame, measure: Measure) -> None:
    """Draw a metric against the number of shots, a line for each method with a band of one standard deviation.

    The axis of shots is logarithmic; "all" is at the right, apart from the numbers. So is that of an error if the
    largest is more than ten times the smallest, which would otherwise press the small ones together. The legend is
    beside the axes and names the methods from the highest end of a line to the lowest.

    Args:
        axes: Where to draw.
        cells: The table, see `summarise`; cells without a number are left out.
        measure: Its metric.
    """
    planned = cells[cells["planned"] > 0]
    shots = planned["shots"].unique().tolist()
    # All images: two doublings to the right of the largest number.
    places = {number: number or 4 * max(shots) or 4 for number in shots}
    for look, (method, line) in zip(cycle(_LOOKS), planned.groupby("method", sort=False), strict=False):
        drawn = line[line["n"] > 0]
        if method in GUESSES.values():
            look = {"linestyle": (0, (1, 3)), "color": "black", "linewidth": 1.4}
        x, mean = drawn["shots"].map(places), drawn["mean"] * measure.factor
        std = drawn["std"].fillna(0) * measure.factor
        axes.plot(x, mean, label=_marked(str(method), drawn["selected_on_test"].any()), **look)
        axes.fill_between(x, mean - std, mean + std, color=look["color"], alpha=0.1, linewidth=0)
    axes.set_xscale("log", base=2)
    axes.set_xticks([*places.values()], [str(number or "all") for number in shots])
    axes.minorticks_off()
    axes.set_xlabel("training images for each value")
    axes.set_ylabel(measure.title)
    _spread_errors(axes, cells["mean"].dropna(), measure)
    axes.grid(alpha=0.3)
    # In the order in which the lines end at the right, so that the eye finds them.
    lines = sorted((line for line in axes.lines if np.size(line.get_ydata())), key=_end, reverse=True)
    axes.legend(handles=lines, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize="small", frameon=False)


def _spread_errors(axes: Axes, means: pd.Series, measure: Measure) -> None:
    """Make the axis of errors logarithmic if they are far apart, unless one is 0, which such an axis would hide."""
    if not (measure.lower_is_better and len(means) and 0 < _MOST_RATIO * means.min() < means.max()):
        return
    # A band that reaches below 0 is cut at the edge.
    axes.set_yscale("log", nonpositive="clip")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set_ylim(bottom=_MARGIN * means.min())


# How many letters of bins fit side by side below a picture of errors.
_MOST_LETTERS = 72


def draw_errors(axes: Axes, below: Axes, errors: pd.DataFrame) -> None:
    """Draw the mean absolute error by target, a row for each method, and below it how many images there are.

    Twenty lines would hide each other; rows of colours with numbers don't.

    Args:
        axes: Where to draw the errors.
        below: Where to draw the number of test images in a run; shares its x-axis.
        errors: See `errors_by_value`.
    """
    # Methods stay in the order of the plan; a method without images in a bin has no colour there.
    methods = list(dict.fromkeys(errors["method"]))
    grid = errors.pivot(index="method", columns=["low", "high"], values="mae").sort_index(axis="columns").loc[methods]
    picture = axes.imshow(grid.to_numpy(), cmap="viridis_r", aspect="auto")
    selected = set(errors["method"][errors["select_on"] == "test"])
    axes.set_yticks(range(len(methods)), [_marked(method, method in selected) for method in methods])
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    lowest, highest = grid.min(axis=None), grid.max(axis=None)
    for (row, column), number in np.ndenumerate(grid.to_numpy()):
        # White on the dark half of the colours.
        colour = "white" if number > (lowest + highest) / 2 else "black"
        axes.text(column, row, f"{number:.3g}", ha="center", va="center", fontsize="x-small", color=colour)
    axes.get_figure(root=True).colorbar(picture, ax=axes, label="mean absolute error")  # type: ignore[union-attr]
    images = errors.groupby(["low", "high"])["images"].mean()
    below.bar(range(len(images)), images, color="0.6")
    names = [_bin_name(low, high) for low, high in images.index]
    # Long names would run into each other.
    slanted: dict[str, Any] = (
        {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len("".join(names)) > _MOST_LETTERS else {}
    )
    below.set_xticks(range(len(names)), names, fontsize="small", **slanted)
    below.set_ylabel("test images")
    below.set_xlabel("target")


def save_curves(path: Path, cells: pd.DataFrame, measure: Measure, dataset: str) -> None:
    """Write the picture of `draw_curves` as PNG."""
    figure = _figure(cells["method"].nunique())
    axes = figure.subplots()
    draw_curves(axes, cells, measure)
    title = f"{measure.label} on {dataset}, mean ± standard deviation"
    axes.set_title(_plain(title) + _explained(cells["selected_on_test"][cells["n"] > 0].any()))
    _save(figure, path)


def save_errors(path: Path, errors: pd.DataFrame, title: str) -> None:
    """Write the picture of `draw_errors` as PNG."""
    figure = _figure(errors["method"].nunique())
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1])
    draw_errors(axes, below, errors)
    axes.set_title(_plain(title) + _explained("test" in set(errors["select_on"])))
    _save(figure, path)


def draw_ranks(axes: Axes, methods: Sequence[str], found: RankComparison) -> None:
    """Draw a critical-difference picture: methods by mean rank, a bar across each set that is not told apart.

    Args:
        axes: Where to draw.
        methods: Their names.
        found: Their ranks, in the same order.
    """
    order = np.argsort(found.ranks, kind="stable")
    for row, place in enumerate(order):
        axes.plot([1, found.ranks[place]], [row, row], color="0.85", linewidth=1, zorder=0)
        axes.plot(found.ranks[place], row, "o", color="black", markersize=5)
    axes.set_yticks(range(len(order)), [f"{_plain(methods[place])}  {found.ranks[place]:.2f}" for place in order])
    bars = undecided(found.ranks, found.critical_difference)
    for number, members in enumerate(bars):
        rows = [int(np.flatnonzero(order == place)[0]) for place in (members[0], members[-1])]
        x = len(methods) + 0.25 * (number + 1)
        axes.plot([x, x], [rows[0] - 0.2, rows[1] + 0.2], color="tab:red", linewidth=3, solid_capstyle="butt")
    axes.plot([1, 1 + found.critical_difference], [-0.8, -0.8], color="tab:red", marker="|", linewidth=1)
    axes.text(1, -0.95, f"critical difference {found.critical_difference:.2f}", fontsize="small", va="bottom")
    axes.set_xlim(1 - 0.1, max(len(methods) + 0.25 * (len(bars) + 1), 1.1 + found.critical_difference))
    axes.set_ylim(len(methods) - 0.5, -1.6)
    axes.set_xticks(range(1, len(methods) + 1))
    axes.set_xlabel(f"mean rank over {found.datasets} data sets (1 is the best)")


def draw_score_curves(axes: Axes, points: pd.DataFrame) -> None:
    """Draw the cumulative score against the tolerance, a line for each method with a band of one standard deviation.

    Args:
        axes: Where to draw.
        points: Of each method: select_on, tolerance, mean and std (0..1).
    """
    for look, (method, line) in zip(cycle(_LOOKS), points.groupby("method", sort=False), strict=False):
        guess = {"linestyle": (0, (1, 3)), "color": "black", "linewidth": 1.4}
        drawn = {**(guess if method in GUESSES.values() else look), "marker": ""}
        mean, std = 100 * line["mean"], 100 * line["std"].fillna(0)
        label = _marked(str(method), (line["select_on"] == "test").any())
        axes.plot(line["tolerance"], mean, label=label, **drawn)
        axes.fill_between(line["tolerance"], mean - std, mean + std, color=drawn["color"], alpha=0.1, linewidth=0)
    axes.set_xlim(0, points["tolerance"].max())
    axes.set_ylim(0, 100)
    axes.set_xlabel("tolerance t, in the target's unit")
    axes.set_ylabel("test images with an error of at most t (%)")
    axes.grid(alpha=0.3)
    lines = sorted(axes.lines, key=lambda line: float(np.mean(np.asarray(line.get_ydata()))), reverse=True)
    axes.legend(handles=lines, loc="upper left", bbox_to_anchor=(1.01, 1), fontsize="small", frameon=False)


def save_score_curves(path: Path, points: pd.DataFrame, title: str) -> None:
    """Write the picture of `draw_score_curves` as PNG."""
    figure = _figure(points["method"].nunique())
    axes = figure.subplots()
    draw_score_curves(axes, points)
    axes.set_title(_plain(title) + _explained("test" in set(points["select_on"])))
    _save(figure, path)


def save_ranks(path: Path, methods: Sequence[str], found: RankComparison, title: str) -> None:
    """Write the picture of `draw_ranks` as PNG."""
    figure = _figure(len(methods))
    axes = figure.subplots()
    draw_ranks(axes, methods, found)
    axes.set_title(_plain(f"{title}: bars join methods that are not told apart"))
    _save(figure, path)


def _end(line: Line2D) -> float:
    return float(np.asarray(line.get_ydata())[-1])


def _bin_name(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _figure(methods: int) -> Figure:
    """Return a figure that is tall enough for the names of all methods."""
    return Figure(figsize=(10, max(4.5, 0.3 * methods)), layout="constrained")


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _marked(method: str, selected_on_test: bool) -> str:
    return _plain(method) + (" †" if selected_on_test else "")


def _explained(selected_on_test: bool) -> str:
    """Explain the mark below a title, if there is one."""
    return "\n† selected on the test set (select_on: test)" if selected_on_test else ""


def _plain(text: str) -> str:
    """Escape dollars, which matplotlib reads as mathematics."""
    return text.replace("$", r"\$")

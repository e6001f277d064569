"""Drawings of matplotlib as SVG within the page: they take the colours and the letters of the page, light or dark."""

import io
import re
from collections.abc import Sequence
from itertools import count
from typing import Any

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

__all__ = ["ACCENT", "HEAT", "INK", "LINE", "MARK", "SOFT", "drawing", "plain", "styled", "to_svg"]

# Colours that no drawing has, which become those of the page.
INK, ACCENT, MARK, SOFT, LINE = "#000101", "#000202", "#000303", "#000404", "#000505"
_NAMES = {INK: "currentColor", ACCENT: "var(--bar)", MARK: "var(--mark)", SOFT: "var(--soft)", LINE: "var(--line)"}
# Numbers as strength of one colour that can be seen on white and on black.
HEAT = LinearSegmentedColormap.from_list("heat", [(0.27, 0.52, 0.86, 0.18), (0.27, 0.52, 0.86, 1.0)])

_number = count()


def drawing(width: float = 5.2, height: float = 3.4, rows: Sequence[int] = (1,)) -> tuple[Figure, list[Axes]]:
    """Return a figure in inches and its axes, one below the other with these heights."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
    axes = figure.subplots(len(rows), 1, sharex=True, height_ratios=list(rows), squeeze=False)[:, 0]
    for part in axes:
        part.set_facecolor("none")
        part.spines[["top", "right"]].set_visible(False)
        part.set_axisbelow(True)
    return figure, list(axes)


_STYLE: Any = {
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": SOFT, "xtick.color": INK, "ytick.color": INK,
    "grid.color": LINE, "grid.linewidth": 0.7, "axes.grid": True, "axes.grid.axis": "y", "font.size": 9,
    "axes.titlesize": 10, "svg.fonttype": "none", "legend.frameon": False, "legend.fontsize": 8.5,
    "xtick.major.width": 0.7, "ytick.major.width": 0.7, "axes.linewidth": 0.8, "savefig.dpi": 110,
}  # fmt: skip


# Around each function that draws: parts that are added later, such as bars of colours, take the style too.
styled = rc_context(_STYLE)


def to_svg(figure: Figure, alt: str) -> Markup:
    """Write a figure for the inside of a page.

    Args:
        figure: See `drawing`.
        alt: What it shows, for those who don't see it.
    """
    text = io.StringIO()
    # Names within a page must differ between its drawings.
    with rc_context({**_STYLE, "svg.hashsalt": f"numclip-{next(_number)}"}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    found = text.getvalue()
    found = found[found.index("<svg") :]
    found = re.sub(r"<metadata>.*?</metadata>", "", found, flags=re.DOTALL)
    found = re.sub(r'<g id="[^"]*">', "<g>", found)
    for colour, name in _NAMES.items():
        found = found.replace(colour, name)
    # The letters of the page, in the size of the drawing.
    found = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", found)
    # Spaces between elements are a tenth of it.
    found = re.sub(r">\s+<", "><", found)
    head = f'<svg role="img" aria-label="{escape(alt)}" class="drawing" '
    found = re.sub(r"<svg (?=.*?>)", lambda _: head, found, count=1)
    found = re.sub(r'(<svg [^>]*?) width="[^"]*pt"', r"\1", found, count=1)
    found = re.sub(r'(<svg [^>]*?) height="[^"]*pt"', r"\1", found, count=1)
    found = re.sub(r'\sxmlns(:xlink)?="[^"]*"|\sversion="1.1"', "", found)
    return Markup(found)


def plain(text: str) -> str:
    """Escape dollars, which matplotlib reads as mathematics."""
    return text.replace("$", r"\$")

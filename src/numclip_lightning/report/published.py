"""Published figures of other authors, each with its source."""

from typing import NamedTuple

from numclip_lightning.errors import check_choice

__all__ = ["PublishedFigure", "published_figures"]


class PublishedFigure(NamedTuple):
    """One number from a paper.

    Attributes:
        method: The method as the paper calls it.
        metric: The key of the metric, as our runs write it.
        value: The number in our unit: shares are 0 to 1.
        source: Where it is printed.
    """

    method: str
    metric: str
    value: float
    source: str


_SOURCE = "NumCLIP, ECCV 2024"
# By the name of the dataset's configuration.
_FIGURES = {
    "morph": (PublishedFigure("NumCLIP", "test_mae", 2.08, _SOURCE),),
    "historical": (PublishedFigure("NumCLIP", "test_acc", 0.6961, _SOURCE),),
    "aesthetics": (
        PublishedFigure("NumCLIP", "test_mae", 0.23, _SOURCE),
        PublishedFigure("NumCLIP", "test_acc", 0.7653, _SOURCE),
    ),
}


def published_figures(dataset: str) -> tuple[PublishedFigure, ...]:
    """Look up the published figures of a dataset.

    Args:
        dataset: The name of its configuration: `morph`, `historical` or `aesthetics`.

    Raises:
        ConfigError: If there are none for this name.
    """
    check_choice("published", dataset, _FIGURES)
    return _FIGURES[dataset]

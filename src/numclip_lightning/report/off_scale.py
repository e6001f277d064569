"""How well images that are not on the scale are told from those that are, from files of predictions.

Any program's files do: those of images on the scale and off it, both with a column `scale_score`, larger on the scale.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from numclip_lightning.errors import DataError
from numclip_lightning.metrics.separation import Separation, separation

__all__ = ["OFF_SCALE", "off_scale_separation"]

OFF_SCALE = "off_scale_predictions.csv"
"""The file in a run folder with the images that are known not to be on the scale."""

_SCORE = "scale_score"
_WORDS = dict.fromkeys(("path", "phrase", "most_probable", "group", "rejected", "shows"), "str")


def off_scale_separation(tested: str | Path, strangers: str | Path, *, resamples: int = 1000) -> Separation:
    """Return how well the score tells images that are known not to be on the scale from those of a test.

    Args:
        tested: The predictions of images on the scale, `test_predictions.csv`. If it has groups, they are drawn whole.
        strangers: Those of the other images, `off_scale_predictions.csv`.
        resamples: How often is drawn for the intervals.

    Raises:
        DataError: If a file can't be read, or has no scores.
    """
    on, off = _read(Path(tested)), _read(Path(strangers))
    groups = None if "group" not in on or (on["group"] == "").any() else on["group"].tolist()
    return separation(on[_SCORE], off[_SCORE], groups=groups, resamples=resamples)


def _read(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(
            path,
            dtype=_WORDS,
            keep_default_na=False,
            na_values={_SCORE: ["", "nan"]},
            encoding_errors="surrogateescape",
        )
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read ({error}); give a file of predictions.") from error
    if _SCORE not in frame:
        raise DataError(f"{path} has no column {_SCORE}; test or predict again with --on_scale.")
    if frame.empty or not np.isfinite(frame[_SCORE]).all():
        raise DataError(f"{path} has no rows, or a {_SCORE} that is no number; test or predict again.")
    return frame

"""Intervals and sets for rows of predictions, and the calibration of a run from the rows of its validation images."""

import csv
import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from numclip_lightning import __version__
from numclip_lightning.calibration import SEPARATOR, Answers, Calibration, Choices, LevelValues, calibrate
from numclip_lightning.calibration.quantiles import quantile_columns, quantiles_in
from numclip_lightning.errors import DataError
from numclip_lightning.runs.rows import Row, float32_text
from numclip_lightning.scale import OrdinalScale

__all__ = ["INTERVAL_COLUMNS", "answers_of", "calibrate_rows", "describe", "read_rows", "with_intervals"]

_log = logging.getLogger(__name__)

# What a calibrated run adds to a file of predictions.
INTERVAL_COLUMNS = ["lower", "upper", "phrases_in_set"]


def answers_of(rows: Sequence[Sequence[str]], heading: Sequence[str], by: str | None = None) -> Answers:
    """Turn rows of predictions into answers.

    Args:
        rows: The cells of each image.
        heading: Their columns.
        by: The column that has the group of each image; without such a column no group is known.

    Raises:
        DataError: If a value is not finite.
    """
    place = {name: number for number, name in enumerate(heading)}
    levels = [number for name, number in place.items() if name.startswith("p(") and name.endswith(")")]

    def numbers(name: str) -> Any:
        # A spread may be missing: an empty cell.
        return np.array([float(row[place[name]] or "nan") for row in rows]) if name in place else None

    spread, kept = numbers("spread"), quantile_columns(heading)
    cells = np.array([[float(row[place[name]] or "nan") for name in kept] for row in rows])
    return Answers(
        value=numbers("value"),
        target=numbers("target"),
        spread=None if spread is None or not np.isfinite(spread).all() else spread,
        probabilities=np.array([[float(row[number]) for number in levels] for row in rows]) if levels else None,
        groups=[row[place[by]] for row in rows] if by in place else None,
        quantiles=quantiles_in(cells, list(kept.values())),
    )


def calibrate_rows(
    rows: Sequence[Sequence[str]], heading: Sequence[str], scale: OrdinalScale, choices: Choices, **source: Any
) -> Calibration:
    """Find the calibration of a method on the rows of its validation images.

    Args:
        rows: The cells of each image, with targets.
        heading: Their columns.
        scale: The scale of the method.
        choices: What is asked for.
        **source: What is known of the images, for the file.

    Raises:
        DataError: If a value is not finite, or there are no rows.
        ConfigError: If groups are asked for that the rows lack.
    """
    answers = answers_of(rows, heading, choices.by)
    known = {**source, "numclip_lightning": __version__}
    return calibrate(answers, choices, values=LevelValues.of(scale), phrases=scale.phrases, source=known)


def with_intervals(rows: Iterable[Row], heading: Sequence[str], calibration: Calibration) -> list[Row]:
    """Add the cells of `INTERVAL_COLUMNS` to rows; they are empty where a value is not finite.

    Args:
        rows: Rows with the cells of `heading`.
        heading: Their columns.
        calibration: The calibration.
    """
    known = list(rows)
    numbers = [place for place, name in enumerate(heading) if name == "value" or name.startswith("p(")]
    finite = [row for row in known if all(math.isfinite(float(row[1][place])) for place in numbers)]
    cells: dict[int, list[str]] = {}
    if finite:
        answers = answers_of([row for _, row in finite], heading, calibration.choices.by)
        lower, upper = (ends.astype(np.float32) for ends in calibration.intervals_of(answers))
        sets = calibration.sets_of(answers) or ([0] * len(finite), [-1] * len(finite))
        for number, (index, _) in enumerate(finite):
            phrases = calibration.phrases[sets[0][number] : sets[1][number] + 1]
            cells[index] = [float32_text(lower[number]), float32_text(upper[number]), SEPARATOR.join(phrases)]
    return [(index, [*row, *cells.get(index, [""] * len(INTERVAL_COLUMNS))]) for index, row in known]


def read_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read a file of predictions: its heading, and the cells of each row.

    Raises:
        DataError: If it can't be read or is empty.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            heading, *rows = csv.reader(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read ({error}); validate the checkpoint again.") from error
    return heading, rows


def describe(calibration: Calibration) -> None:
    """Log what a calibration says, in words, and what users should know of it."""
    choices, threshold = calibration.choices, calibration.interval.overall.value
    kind = {
        "absolute": f"value ± {threshold:.4g}",
        "normalised": f"value ± {threshold:.4g} spreads",
        "quantiles": f"quantiles of the distribution, each moved by {threshold:.4g}",
    }[choices.intervals]
    if threshold == math.inf:
        kind = "the whole scale"
    by = f", by {choices.by}" if choices.by else ""
    temperature = "" if calibration.temperature is None else f"; temperature {calibration.temperature.value:.3g}"
    _log.info(
        "calibrated on %d validation images: %g %% intervals are %s%s%s",
        calibration.n, 100 * choices.coverage, kind, by, temperature,
    )  # fmt: skip
    for note in calibration.notes:
        _log.warning("calibration: %s", note)

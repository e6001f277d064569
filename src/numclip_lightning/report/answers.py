"""Prediction files of anybody: read, checked, and turned into what a calibration takes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from numclip_lightning.calibration import Answers, LevelValues
from numclip_lightning.calibration.quantiles import quantile_columns, quantiles_in
from numclip_lightning.errors import ConfigError, DataError, near_matches
from numclip_lightning.plain import parse_yaml
from numclip_lightning.report.predictions import check_separator, probability_columns
from numclip_lightning.scale import OrdinalScale

__all__ = ["answers_of", "levels_in", "phrases_of", "read_answers", "read_cells", "read_scale", "scale_in"]

_NUMBERS = ("value", "target", "spread", "lower", "upper")


def read_answers(path: Path, *, targets: bool) -> pd.DataFrame:
    """Read a file of predictions: a column `value`, and maybe target, spread, p(PHRASE) and others.

    Args:
        path: A CSV file with a header.
        targets: Whether it must have true numbers, a column `target`.

    Returns:
        The columns of the file: numbers as numbers, all others as the words that they are.

    Raises:
        DataError: If it can't be read, lacks a column, or has a cell that is no finite number where one is needed; the
            message has the file and line.
    """
    frame = read_cells(path)
    for name in ("value", *(["target"] if targets else [])):
        if name not in frame:
            hint = near_matches(name, frame.columns) or f"; it has {', '.join(frame.columns[:8])}"
            raise DataError(f"{path} has no column {name}{hint}")
    if frame.empty:
        raise DataError(f"{path} has no rows; give the predictions of at least one image.")
    known = {*_NUMBERS, *probability_columns(frame), *quantile_columns(frame.columns)}
    numbers = [name for name in frame.columns if name in known]
    return frame.assign(**{name: _numbers(frame[name], path) for name in numbers})


def read_cells(path: Path) -> pd.DataFrame:
    """Read a CSV file as the words that its cells are.

    Raises:
        DataError: If it can't be read.
    """
    try:
        frame = pd.read_csv(path, dtype="str", keep_default_na=False, encoding_errors="surrogateescape")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} can't be read as CSV ({error}); give a file with the columns of predictions.csv."
        ) from error
    check_separator(path, frame.columns)
    return frame


def _numbers(cells: pd.Series, path: Path) -> pd.Series:
    """Turn cells into numbers; a spread or an end of an interval may be missing."""
    found = pd.to_numeric(cells, errors="coerce")
    may_be_empty = cells.name == "spread" or str(cells.name).startswith("q(")
    allowed = cells.str.strip().eq("") if may_be_empty else pd.Series(False, cells.index)
    if cells.name in ("lower", "upper"):
        allowed = cells.str.lower().str.strip().isin(["", "inf", "-inf"])
    wrong = np.flatnonzero(~np.isfinite(found) & ~allowed)
    if len(wrong):
        # The heading is line 1.
        line = wrong[0] + 2
        raise DataError(
            f"{path}:{line}: {cells.name} is {cells.iloc[wrong[0]]!r}, which is no finite number; correct it."
        )
    return found.astype("float64")


def answers_of(frame: pd.DataFrame, by: str | None = None) -> Answers:
    """Turn predictions into answers.

    Args:
        frame: See `read_answers`, or `read_predictions`.
        by: The column that has the group of each image; if there is none of that name, no group is known.

    Raises:
        DataError: If probabilities are no distributions.
    """
    columns, kept = probability_columns(frame), quantile_columns(frame.columns)
    spread = frame["spread"].to_numpy("float64") if "spread" in frame else None
    return Answers(
        value=frame["value"].to_numpy("float64"),
        target=frame["target"].to_numpy("float64") if "target" in frame else None,
        # A method that gives the number alone leaves the cells empty.
        spread=None if spread is None or np.isnan(spread).any() else spread,
        probabilities=frame[columns].to_numpy("float64") if columns else None,
        groups=frame[by].astype("str").to_numpy() if by in frame else None,
        quantiles=quantiles_in(frame[list(kept)].to_numpy("float64"), list(kept.values())),
    )


def phrases_of(frame: pd.DataFrame) -> list[str]:
    """Return the phrases of the levels, in order, from the names of the columns."""
    return [name[len("p(") : -1] for name in probability_columns(frame)]


def read_scale(path: Path) -> OrdinalScale:
    """Read the scale of a configuration: the `config.yaml` of a run, its folder, or a file with the scale alone.

    Raises:
        ConfigError: If there is none.
    """
    file = path / "config.yaml" if path.is_dir() else path
    try:
        config = parse_yaml(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} can't be read ({error}); give the config.yaml of a run.") from error
    try:
        known = config if isinstance(config, dict) and "minimum" in config else config["model"]["init_args"]["scale"]
        return OrdinalScale(**known)
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"{file} has no scale ({error!r}); give the config.yaml of a run, or a scale's own YAML."
        ) from error


def scale_in(frame: pd.DataFrame) -> LevelValues | None:
    """Return the numbers of the levels if phrases are evenly spaced numbers themselves ("1", "1.5", ...), else None."""
    try:
        numbers = [float(phrase) for phrase in phrases_of(frame)]
    except ValueError:
        return None
    steps = np.diff(numbers)
    if len(numbers) < 2 or not (steps > 0).all() or not np.allclose(steps, steps[0]):
        return None
    return LevelValues(tuple(numbers), tuple(numbers), float(steps[0]))


def levels_in(frame: pd.DataFrame) -> Sequence[int] | None:
    """Return the true level of each image by its column `true_phrase`; None if it has none, or an unknown phrase."""
    places = {phrase: level for level, phrase in enumerate(phrases_of(frame))}
    if "true_phrase" not in frame:
        return None
    found = frame["true_phrase"].map(places)
    return None if found.isna().any() else found.astype("int64").tolist()

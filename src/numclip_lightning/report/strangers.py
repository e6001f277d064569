"""Predictions of any program, such as a vision-language model, read against the test list of our own runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from numclip_lightning.errors import DataError, near_matches
from numclip_lightning.report.answers import answers_of, phrases_of, read_cells
from numclip_lightning.report.predictions import ATTRIBUTE, probability_columns
from numclip_lightning.report.reported import ReportedRun
from numclip_lightning.scale import OrdinalScale

__all__ = ["Stranger", "Unanswered", "read_stranger", "with_shared_truth", "with_truth"]

Unanswered = Literal["refuse", "median"]
# What belongs to an image and not to who reads it.
_TRUTH = ("path", "target", "true_phrase", "group")


class Stranger(NamedTuple):
    """A file of predictions that no run of ours has made.

    Attributes:
        file: The file.
        answers: Its rows: path, value (NaN where there is no number), line, and p(PHRASE) and target if it has them.
    """

    file: Path
    answers: pd.DataFrame


def read_stranger(file: Path, columns: Mapping[str, str] | None = None) -> Stranger:
    """Read a CSV file with the columns `path` and `value`, or `path` and `phrase`, or `path` and all p(PHRASE).

    Args:
        file: The file. Its `value` is a number in the target's unit; a cell that is no number is no answer.
        columns: The file's names of columns, by ours: `{"value": "answer", "path": "image"}`.

    Raises:
        DataError: If it can't be read, lacks a column, has no rows, or an image twice with two answers.
    """
    frame = read_cells(file)
    for ours, theirs in (columns or {}).items():
        if theirs not in frame:
            hint = near_matches(theirs, frame.columns) or f"; it has {', '.join(frame.columns[:8])}"
            raise DataError(f"{file} has no column {theirs!r}{hint}")
        frame = frame.drop(columns=[ours] if ours != theirs and ours in frame else []).rename(columns={theirs: ours})
    probabilities = probability_columns(frame)
    kinds = [name for name in ("value", "phrase") if name in frame] + probabilities
    if "path" not in frame or not kinds:
        missing = "'path'" if "path" not in frame else "'value', 'phrase' or p(PHRASE)"
        raise DataError(
            f"{file} has no column {missing}; it has {', '.join(map(repr, frame.columns[:8]))}. Name them in columns: "
            "{value: THEIRS, path: THEIRS}."
        )
    if frame.empty:
        raise DataError(f"{file} has no rows; give the predictions of at least one image.")
    twice = frame.drop_duplicates(["path", *kinds])
    if (again := twice["path"].duplicated()).any():
        row = twice[again].iloc[0]
        raise DataError(f"{file}:{row.name + 2}: {row['path']!r} is there twice with different answers; keep one.")
    numbers = [name for name in ("value", "target") if name in frame] + probabilities
    found = {name: _numbers(frame[name]) for name in numbers}
    return Stranger(file, frame.assign(**found, line=frame.index + 2).drop_duplicates("path"))


def with_truth(
    stranger: Stranger,
    known: pd.DataFrame,
    scale: OrdinalScale | None,
    *,
    unanswered: Unanswered = "refuse",
    median: float | None = None,
) -> tuple[pd.DataFrame, int]:
    """Return the stranger's answers to a test list, with the columns that a run of ours writes.

    Args:
        stranger: See `read_stranger`. Other images than those of the list are left out.
        known: The test predictions of a run, see `read_predictions`: path and target, and group, attributes and
            true_phrase if it has them.
        scale: The scale of that run; None if unknown, and then phrases and probabilities are not read.
        unanswered: What an image counts to which there is no number: `refuse` all of them, or take the `median`.
        median: The median of the training targets, what guessing answers.

    Returns:
        A row for each row of the list, in its order; and how many of them count as the median.

    Raises:
        DataError: If an image has no row, an answer is missing, or the file contradicts the list.
    """
    rows = _rows(stranger, known)
    truth = [name for name in known.columns if name in _TRUTH or name.startswith(ATTRIBUTE)]
    frame = known[truth].reset_index(drop=True)
    _check_targets(stranger, rows, frame)
    values = _values(stranger, rows, scale)
    missing = ~np.isfinite(values)
    if missing.any():
        if unanswered == "refuse" or median is None:
            first = rows[missing].iloc[0]
            raise DataError(
                f"{stranger.file}:{first['line']}: no number for {first['path']!r}, and for {int(missing.sum())} of "
                f"{len(rows)} images in all; correct them, or set unanswered: median, which counts them as guessing."
            )
        values = np.where(missing, median, values)
    frame["value"] = values
    if "target" in frame:
        frame["error"] = frame["value"] - frame["target"]
    if scale is not None:
        levels = scale.level_at(torch.tensor(values)).numpy()
        probabilities, phrases = _distributions(stranger, rows, scale, levels), np.array(scale.phrases)
        frame["phrase"], frame["most_probable"] = phrases[levels], phrases[probabilities.argmax(axis=1)]
        frame = frame.join(pd.DataFrame(probabilities, columns=[f"p({phrase})" for phrase in phrases]))
    return frame, int(missing.sum())


def with_shared_truth(runs: Sequence[ReportedRun]) -> list[ReportedRun]:
    """Give files that have no true numbers those of the first run that has them, and its scale.

    Args:
        runs: What a report is about. A run folder, and a file of other images, stay as they are.

    Raises:
        DataError: If a file has some of the images of that run and not all, or contradicts it.
    """
    known = next((run for run in runs if run.has_truth and run.folder), None)
    return [run if known is None or run.has_truth or run.folder else _beside(run, known) for run in runs]


def _beside(run: ReportedRun, known: ReportedRun) -> ReportedRun:
    if not set(run.frame["path"].map(_name)) & set(known.frame["path"].map(_name)):
        return run
    stranger = Stranger(run.file, run.frame.assign(line=run.frame.index + 2).drop_duplicates("path"))
    frame, _ = with_truth(stranger, known.frame, known.scale)
    return replace(run, frame=frame, scale=known.scale)


def _distributions(
    stranger: Stranger, rows: pd.DataFrame, scale: OrdinalScale, levels: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the probability of each level, (N, K); an answer without them is certain of its value's level."""
    certain: NDArray[np.float64] = np.eye(scale.num_levels)[levels]
    columns = probability_columns(rows)
    whole = rows[columns].notna().all(axis=1).to_numpy()
    if not columns or not whole.any():
        return certain
    certain[whole] = rows.loc[whole, columns].to_numpy("float64")
    try:
        # Refuses what is no distribution.
        answers_of(rows[columns][whole].assign(value=0.0))
    except DataError as error:
        raise DataError(f"{stranger.file}: {error}") from error
    return certain


def _rows(stranger: Stranger, known: pd.DataFrame) -> pd.DataFrame:
    """Return the stranger's row of each image: by its path, or, for the whole list, by its file name alone."""
    answers, paths = stranger.answers, known["path"].astype("str")
    found = answers.set_index("path", drop=False).reindex(paths)
    if found["line"].isna().any():
        theirs, ours = answers["path"].map(_name), paths.map(_name)
        if not theirs.duplicated().any() and ours.nunique() == paths.nunique():
            by_name = answers.set_index(theirs).reindex(ours)
            found = by_name if by_name["line"].notna().all() else found
    if (gone := found["line"].isna().to_numpy()).any():
        raise DataError(
            f"{stranger.file} has no row for {int(gone.sum())} of {len(paths)} test images, such as "
            f"{paths[gone].iloc[0]!r}; ask for them too. Its first is {answers['path'].iloc[0]!r}."
        )
    return found.reset_index(drop=True).astype({"line": "int64"})


def _name(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).name


def _check_targets(stranger: Stranger, rows: pd.DataFrame, frame: pd.DataFrame) -> None:
    """Refuse a file whose own true numbers are not those of the list: its answers may be of other images."""
    if "target" not in rows or "target" not in frame:
        return
    theirs, ours = rows["target"].to_numpy("float64"), frame["target"].to_numpy("float64")
    wrong = np.isfinite(theirs) & ~np.isclose(theirs, ours, rtol=1e-6, atol=1e-9)
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{stranger.file}:{rows['line'][place]}: target of {rows['path'][place]!r} is {theirs[place]:g}, but the "
            f"test list has {ours[place]:g} ({int(wrong.sum())} such rows); correct it, or leave the column out."
        )


def _values(stranger: Stranger, rows: pd.DataFrame, scale: OrdinalScale | None) -> NDArray[np.float64]:
    """Return the number of each row: its value, else the centre of its phrase, else the mean of its distribution."""
    columns = probability_columns(rows)
    if scale is not None and columns and phrases_of(rows) != scale.phrases:
        raise DataError(
            f"{stranger.file} has probabilities of {', '.join(phrases_of(rows))}, but the scale has the phrases "
            f"{', '.join(scale.phrases)}; give one for each, in this order, or leave them out."
        )
    if "value" in rows:
        values: NDArray[np.float64] = rows["value"].to_numpy("float64")
        return values
    if scale is None:
        raise DataError(f"{stranger.file} has no column 'value', and no scale is known that gives words a number.")
    centers = scale.centers.double().numpy()
    if "phrase" in rows:
        places = pd.Index([phrase.lower() for phrase in scale.phrases]).get_indexer(
            rows["phrase"].str.strip().str.lower()
        )
        return np.where(places >= 0, centers[places], np.nan)
    means: NDArray[np.float64] = rows[columns].to_numpy("float64") @ centers
    return means


def _numbers(cells: pd.Series) -> pd.Series:
    found = pd.to_numeric(cells.str.strip(), errors="coerce").astype("float64")
    return found.where(np.isfinite(found))

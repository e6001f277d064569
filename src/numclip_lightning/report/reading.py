"""Reading what a report is made of: a run folder, or the predictions of any program."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from numclip_lightning.calibration.quantiles import quantile_columns
from numclip_lightning.errors import DataError, near_matches
from numclip_lightning.plain import parse_json, parse_yaml
from numclip_lightning.report.counts import read_counts
from numclip_lightning.report.maps import map_files
from numclip_lightning.report.predictions import ATTRIBUTE, read_file
from numclip_lightning.report.reported import ReportedRun
from numclip_lightning.scale import OrdinalScale

__all__ = ["PREDICTED", "TESTED", "read_run"]

TESTED, PREDICTED = "test_predictions.csv", "predictions.csv"
# Of the best epoch of a fit, read when it is named.
_VALIDATED = "validation_predictions.csv"
# Columns of numbers that any program may write beside the value.
_NUMBERS = ("target", "value", "lower", "upper", "spread", "on_scale")


def read_run(place: str | Path, *, by: Sequence[str] = (), rename: Mapping[str, str] | None = None) -> ReportedRun:
    """Read a run folder, or a file of predictions.

    Args:
        place: A run folder, of which the tested images are taken, else the predicted ones; or a CSV file with the
            column `value`, and `target` where the true numbers are known.
        by: Columns that are read as attributes too, by the name that the file has.
        rename: The file's names of columns, by ours: `{"target": "age", "value": "guess"}`.

    Raises:
        DataError: If there is no file of predictions, or it can't be used.
    """
    place = Path(place)
    folder = place if place.is_dir() else None
    if folder is None and place.name in (TESTED, PREDICTED, _VALIDATED) and (place.parent / "config.yaml").is_file():
        folder = place.parent
    file = _file_of(place)
    try:
        frame = read_file(file)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file} can't be read as a table of predictions ({error}); give a CSV with a header."
        ) from error
    frame, unusable = _usable(_named(frame, file, by, rename or {}), file)
    config = _config(folder)
    scale = _scale(config)
    return ReportedRun(
        name=_name(place, folder, config),
        file=file,
        folder=folder,
        frame=_with_levels(frame, scale),
        unusable=unusable,
        config=config,
        metrics=_json(folder, "metrics.json"),
        scale=scale,
        counts=read_counts(folder) if folder else None,
        prototypes=_prototypes(folder),
        maps=map_files(folder) if folder else {},
    )


def _file_of(place: Path) -> Path:
    if not place.is_dir():
        return place
    for name in (TESTED, PREDICTED):
        if (place / name).is_file():
            return place / name
    raise DataError(
        f"{place} has no {TESTED} and no {PREDICTED}; run `numclip test --config {place}/config.yaml --ckpt_path ...`, "
        "or give a folder or a CSV file that has predictions."
    )


def _named(frame: pd.DataFrame, file: Path, by: Sequence[str], rename: Mapping[str, str]) -> pd.DataFrame:
    """Give columns our names, and those of `by` the names of attributes."""
    for ours, theirs in rename.items():
        if theirs not in frame:
            raise DataError(f"{file} has no column {theirs!r}{_hint(theirs, frame)}")
        if ours != theirs and ours in frame:
            frame = frame.drop(columns=ours)
    frame = frame.rename(columns={theirs: ours for ours, theirs in rename.items()})
    if "value" not in frame:
        raise DataError(
            f"{file} has no column 'value' with the predicted numbers{_hint('value', frame)}; name yours with "
            "--value_column, and that of the true numbers with --target_column."
        )
    for name in by:
        if name not in frame and f"{ATTRIBUTE}{name}" not in frame:
            raise DataError(f"{file} has no column {name!r} to compare by{_hint(name, frame)}")
        if name in frame:
            frame[f"{ATTRIBUTE}{name.removeprefix(ATTRIBUTE)}"] = frame[name]
    if "path" not in frame:
        frame.insert(0, "path", [f"row {number}" for number in range(2, len(frame) + 2)])
    return frame


def _hint(name: str, frame: pd.DataFrame) -> str:
    near = near_matches(name, map(str, frame.columns), most=1)
    return f"{near}; its columns are {', '.join(map(repr, frame.columns))}"


def _usable(frame: pd.DataFrame, file: Path) -> tuple[pd.DataFrame, int]:
    """Return the rows whose numbers are finite, their columns as numbers, and how many rows are left out."""
    for name in (*_NUMBERS, *quantile_columns(frame.columns)):
        if name in frame:
            cells = frame[name].replace("", np.nan)
            frame[name] = pd.to_numeric(cells, errors="coerce").astype("float64")
            wrong = np.flatnonzero(frame[name].isna() & cells.notna())
            if len(wrong):
                # The heading is line 1.
                raise DataError(
                    f"{file}:{wrong[0] + 2}: column {name!r} has an entry that is no number, {cells.iloc[wrong[0]]!r}; "
                    "correct it, or leave the cell empty."
                )
    if "target" in frame and frame["target"].isna().all():
        frame = frame.drop(columns="target")
    asked = [name for name in ("value", "target") if name in frame]
    good = np.isfinite(frame[asked]).all(axis=1)
    if not good.any():
        raise DataError(f"{file} has no row with finite numbers in {' and '.join(map(repr, asked))}.")
    return frame[good].reset_index(drop=True), int((~good).sum())


def _with_levels(frame: pd.DataFrame, scale: OrdinalScale | None) -> pd.DataFrame:
    """Add the errors, and the phrases of true and predicted numbers where a scale gives those that the file lacks."""
    if "target" in frame:
        frame["error"] = frame["value"] - frame["target"]
    if scale is None:
        return frame
    for column, number in (("phrase", "value"), ("true_phrase", "target")):
        if number in frame and column not in frame:
            levels = scale.level_at(torch.tensor(frame[number].to_numpy("float64"))).tolist()
            frame[column] = [scale.phrases[level] for level in levels]
    return frame


def _name(place: Path, folder: Path | None, config: Mapping[str, Any]) -> str:
    if folder is None:
        return place.name
    method = str((config.get("model") or {}).get("class_path", "")).rpartition(".")[2]
    return f"{method} ({folder.name})" if method else folder.resolve().name


def _config(folder: Path | None) -> dict[str, Any]:
    path = Path(folder, "config.yaml") if folder else None
    if path is None or not path.is_file():
        return {}
    try:
        found = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} can't be read ({error}); correct it, or give the file of predictions alone."
        ) from error
    return found if isinstance(found, dict) else {}


def _scale(config: Mapping[str, Any]) -> OrdinalScale | None:
    found = ((config.get("model") or {}).get("init_args") or {}).get("scale")
    return OrdinalScale.of(found) if found else None


def _json(folder: Path | None, name: str) -> dict[str, Any]:
    path = Path(folder, name) if folder else None
    if path is None or not path.is_file():
        return {}
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read ({error}); delete it, or give the file of predictions alone.") from error
    return found if isinstance(found, dict) else {}


def _prototypes(folder: Path | None) -> tuple[Sequence[str], NDArray[np.float64]] | None:
    found = _json(folder, "prototypes.json")
    if not found:
        return None
    similarity = np.asarray(found.get("similarity"), dtype=np.float64)
    phrases = [str(phrase) for phrase in found.get("phrases") or ()]
    if similarity.shape != (len(phrases), len(phrases)):
        raise DataError(
            f"{folder}/prototypes.json has no square of similarities, one row a phrase; test the run again."
        )
    return phrases, similarity

"""A run as a report sees it: its predictions, and what else lies in its folder; a stranger's CSV has these alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray

from numclip_lightning.errors import DataError, near_matches
from numclip_lightning.report.counts import TrainingCounts, read_counts
from numclip_lightning.report.predictions import ATTRIBUTE, probability_columns, read_file
from numclip_lightning.scale import OrdinalScale

__all__ = ["PREDICTED", "TESTED", "ReportedRun", "read_run"]

TESTED, PREDICTED = "test_predictions.csv", "predictions.csv"
# Columns of numbers that any program may write beside the value.
_NUMBERS = ("target", "value", "lower", "upper", "spread", "on_scale")


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportedRun:
    """One run, or one file of predictions.

    Attributes:
        name: What it is called in the report.
        file: The file of predictions.
        folder: The run folder; None for a file alone.
        frame: Its rows, see `read_file`: `path` and `value` always; `target` and `error` where the true numbers are
            known, and then in every row.
        unusable: Rows that were left out, as their value (or target) is no finite number.
        config: The configuration; empty if unknown.
        metrics: What the run has recorded; empty if unknown.
        scale: The scale; None if unknown.
        counts: The training images by value; None if unknown.
        similarity: Cosine similarity of the levels' prototypes, (K, K); None if unknown.
    """

    name: str
    file: Path
    folder: Path | None
    frame: pd.DataFrame
    unusable: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    scale: OrdinalScale | None = None
    counts: TrainingCounts | None = None
    similarity: NDArray[np.float64] | None = None

    @property
    def unit(self) -> str:
        """The unit of the numbers; may be empty."""
        return self.scale.unit if self.scale else ""

    @property
    def has_truth(self) -> bool:
        """Whether the true numbers are known."""
        return "target" in self.frame

    @cached_property
    def errors(self) -> NDArray[np.float64]:
        """Value minus target of each image, (N,)."""
        found: NDArray[np.float64] = (self.frame["value"] - self.frame["target"]).to_numpy("float64")
        return found

    @cached_property
    def groups(self) -> NDArray[Any] | None:
        """The group of each image, (N,), as intervals draw them; None where the file has no column of groups."""
        if "group" not in self.frame:
            return None
        own = "image " + self.frame.index.astype("str").to_series(index=self.frame.index)
        return self.frame["group"].where(self.frame["group"] != "", own).to_numpy()

    @cached_property
    def phrases(self) -> list[str]:
        """The phrases of the levels in order; those of the file by their mean target if no scale is known."""
        if columns := probability_columns(self.frame):
            return [name[2:-1] for name in columns]
        if self.scale:
            return self.scale.phrases
        if "true_phrase" in self.frame and self.has_truth:
            known = self.frame[self.frame["true_phrase"] != ""]
            return [str(name) for name in known.groupby("true_phrase")["target"].mean().sort_values().index]
        return []

    @cached_property
    def levels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The predicted level and the true one of each image, (N,) each, -1 where unknown; None without levels.

        The predicted level is the most probable one, where the file says it; else that of the value.
        """
        names = pd.Index(self.phrases)
        if names.empty or "true_phrase" not in self.frame:
            return None
        if columns := probability_columns(self.frame):
            predicted = self.frame[columns].to_numpy("float64").argmax(axis=1)
        else:
            said = next((name for name in ("most_probable", "phrase") if name in self.frame), None)
            if said is None:
                return None
            predicted = names.get_indexer(self.frame[said])
        return predicted, names.get_indexer(self.frame["true_phrase"])

    @cached_property
    def probabilities(self) -> NDArray[np.float64] | None:
        """The probability of each level, (N, K); None without them."""
        columns = probability_columns(self.frame)
        return self.frame[columns].to_numpy("float64") if columns else None

    @property
    def attributes(self) -> list[str]:
        """The columns of attributes, as the file has them."""
        return [name for name in self.frame.columns if name.startswith(ATTRIBUTE)]


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
    if folder is None and place.name in (TESTED, PREDICTED) and (place.parent / "config.yaml").is_file():
        folder = place.parent
    file = _file_of(place)
    try:
        frame = read_file(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{file} can't be read as a table of predictions ({error}); give a CSV with a header.") from error
    frame, unusable = _usable(_named(frame, file, by, rename or {}), file)
    config = _config(folder)
    scale = _scale(config)
    return ReportedRun(
        name=_name(place, folder, config),
        file=file,
        folder=folder,
        frame=_with_levels(frame, scale, file),
        unusable=unusable,
        config=config,
        metrics=_json(folder, "metrics.json"),
        scale=scale,
        counts=read_counts(folder) if folder else None,
        similarity=_similarity(folder),
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
            words = frame[name].astype("str") if frame[name].dtype.kind not in "if" else frame[name]
            frame[f"{ATTRIBUTE}{name.removeprefix(ATTRIBUTE)}"] = words
    if "path" not in frame:
        frame.insert(0, "path", [f"row {number}" for number in range(2, len(frame) + 2)])
    return frame


def _hint(name: str, frame: pd.DataFrame) -> str:
    near = near_matches(name, map(str, frame.columns), most=1)
    return f"{near}; its columns are {', '.join(map(repr, frame.columns))}"


def _usable(frame: pd.DataFrame, file: Path) -> tuple[pd.DataFrame, int]:
    """Return the rows whose numbers are finite, their columns as numbers, and how many rows are left out."""
    for name in _NUMBERS:
        if name in frame:
            try:
                frame[name] = pd.to_numeric(frame[name].replace("", np.nan)).astype("float64")
            except (ValueError, TypeError) as error:
                raise DataError(f"{file}: column {name!r} has an entry that is no number ({error}).") from error
    if "target" in frame and frame["target"].isna().all():
        frame = frame.drop(columns="target")
    asked = [name for name in ("value", "target") if name in frame]
    good = np.isfinite(frame[asked]).all(axis=1)
    if not good.any():
        raise DataError(f"{file} has no row with finite numbers in {' and '.join(map(repr, asked))}.")
    return frame[good].reset_index(drop=True), int((~good).sum())


def _with_levels(frame: pd.DataFrame, scale: OrdinalScale | None, file: Path) -> pd.DataFrame:
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
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path} can't be read ({error}); correct it, or give the file of predictions alone.") from error
    return found if isinstance(found, dict) else {}


def _scale(config: Mapping[str, Any]) -> OrdinalScale | None:
    found = ((config.get("model") or {}).get("init_args") or {}).get("scale")
    return OrdinalScale.of(found) if found else None


def _json(folder: Path | None, name: str) -> dict[str, Any]:
    path = Path(folder, name) if folder else None
    if path is None or not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read ({error}); delete it, or give the file of predictions alone.") from error
    return found if isinstance(found, dict) else {}


def _similarity(folder: Path | None) -> NDArray[np.float64] | None:
    found = _json(folder, "prototypes.json").get("similarity")
    return None if found is None else np.asarray(found, dtype=np.float64)

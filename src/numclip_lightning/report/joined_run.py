"""The folder of an ensemble: predictions that are joined from the files of runs, and what any run has beside them."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from numclip_lightning.calibration import Choices, LevelValues, calibrate, write_calibration
from numclip_lightning.errors import ConfigError, DataError, NumClipError
from numclip_lightning.metrics import DEFAULT, choose, default_tolerance
from numclip_lightning.report.answers import answers_of, read_answers, read_scale
from numclip_lightning.report.ensemble import combine
from numclip_lightning.report.files import metric_of
from numclip_lightning.report.trust import interval_columns
from numclip_lightning.scale import OrdinalScale

__all__ = ["join_runs"]

_VALIDATION, _TESTED, _PREDICTED = "validation_predictions.csv", "test_predictions.csv", "predictions.csv"


def join_runs(runs: Sequence[Path], output: Path, choices: Choices | None) -> dict[str, Any]:
    """Write the ensemble of several runs: their joined predictions, with intervals, metrics and the scale.

    Args:
        runs: The run folders, two or more.
        output: Where to write; created if it doesn't exist, its files of an earlier ensemble are replaced.
        choices: What intervals are asked for; they are found on the joined validation predictions, where all runs have
            such of the same images. None writes none.

    Returns:
        What `ensemble.json` has: `members`, `images` by file, `disagreement` by file (its mean), and `notes`.

    Raises:
        ConfigError: If a run is no folder, is there twice, or is of another scale.
        DataError: If runs have no predictions in common, or of other images.
    """
    scale, names = _scale_of(runs), [str(run) for run in runs]
    found, notes = {}, list[str]()
    for file in (_TESTED, _PREDICTED, _VALIDATION):
        if not all((run / file).is_file() for run in runs):
            continue
        frames = [read_answers(run / file, targets=file != _PREDICTED) for run in runs]
        try:
            found[file] = combine(frames, scale, [f"{name}/{file}" for name in names])
        except DataError as error:
            if file != _VALIDATION:
                raise
            # Runs of several seeds may have drawn other validation images.
            notes.append(f"no intervals: {error}")
    if not set(found) - {_VALIDATION}:
        raise DataError(
            f"{' and '.join(names)} have no file of predictions in common ({_TESTED} or {_PREDICTED}); test them first."
        )
    if output.exists() and not (output / "ensemble.json").is_file() and any(output.iterdir()):
        raise ConfigError(f"--output {output} has other files in it; give a new folder.")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    _calibrate(found, scale, choices, output, notes)
    for file, frame in found.items():
        frame.to_csv(output / file, index=False, errors="surrogateescape")
    arguments = {"model": {"class_path": "Ensemble", "init_args": {"scale": scale.to_dict()}}, "members": names}
    (output / "config.yaml").write_text(yaml.safe_dump(arguments, sort_keys=False), encoding="utf-8")
    if _TESTED in found:
        _write(output / "metrics.json", _metrics(found[_TESTED], output, scale, runs))
    facts = {
        "members": names,
        "images": {file: len(frame) for file, frame in found.items()},
        "disagreement": {file: float(frame["disagreement"].mean()) for file, frame in found.items()},
        "notes": notes,
    }
    _write(output / "ensemble.json", facts)
    return facts


def _scale_of(runs: Sequence[Path]) -> OrdinalScale:
    """Return the scale that all runs have."""
    if len(runs) < 2:
        raise ConfigError("an ensemble needs two runs or more; give their folders.")
    if missing := [run for run in runs if not run.is_dir()]:
        raise ConfigError(f"{missing[0]} is no folder; give the folders of runs.")
    if len({run.resolve() for run in runs}) < len(runs):
        raise ConfigError("a run is given twice, and would count twice; give each once.")
    scales = [read_scale(run) for run in runs]
    for run, scale in zip(runs, scales, strict=True):
        if _meaning(scale) != _meaning(scales[0]):
            raise ConfigError(
                f"{run} is of another scale than {runs[0]}: {scale.describe()} with {scale.num_levels} levels, not "
                f"{scales[0].describe()} with {scales[0].num_levels}; only runs on one scale can be joined."
            )
    return scales[0]


def _meaning(scale: OrdinalScale) -> dict[str, Any]:
    """Return what a scale means; the sentence around a phrase may differ."""
    return {name: value for name, value in scale.to_dict().items() if name not in ("template", "unit")}


def _calibrate(
    found: dict[str, pd.DataFrame], scale: OrdinalScale, choices: Choices | None, output: Path, notes: list[str]
) -> None:
    """Add intervals to the joined predictions, where there are validation images for them."""
    if choices is None:
        return
    known = found.get(_VALIDATION)
    if known is None:
        if not notes:
            notes.append(f"no intervals: not all runs have {_VALIDATION}")
        return
    try:
        calibration = calibrate(
            answers_of(known, choices.by), choices, values=LevelValues.of(scale), phrases=scale.phrases,
            source={"split": "val", "file": _VALIDATION},
        )  # fmt: skip
        added = {file: interval_columns(frame, calibration) for file, frame in found.items() if file != _VALIDATION}
    except NumClipError as error:
        notes.append(f"no intervals: {error}")
        return
    notes.extend(calibration.notes)
    write_calibration(output, calibration)
    found.update({file: found[file].join(columns) for file, columns in added.items()})


def _metrics(frame: pd.DataFrame, output: Path, scale: OrdinalScale, runs: Sequence[Path]) -> dict[str, Any]:
    """Return the metrics of the joined test predictions; what guessing costs is that of the members, if they agree."""
    keys = choose(DEFAULT, default_tolerance(scale))
    metrics = {f"test_{key}": metric_of(f"test_{key}", frame, output) for key in keys}
    records = [json.loads((run / "metrics.json").read_text(encoding="utf-8"))
               for run in runs if (run / "metrics.json").is_file()]  # fmt: skip
    guesses = {key for record in records for key in record if key.startswith("test_guess_")}
    shared = {key: {record.get(key) for record in records} for key in guesses}
    metrics |= {key: values.pop() for key, values in shared.items() if len(values) == 1}
    tested = any(record.get("select_on") == "test" for record in records) or "select_on" in frame
    return {
        **{key: value for key, value in metrics.items() if value is not None},
        "select_on": "test" if tested else "val",
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

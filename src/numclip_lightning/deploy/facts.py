"""What is known of a run: its data, its metrics and the protocol they were made under, from the files it has left."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from numclip_lightning.errors import ConfigError
from numclip_lightning.plain import parse_json, parse_yaml

__all__ = ["facts_of_run", "read_mapping"]

_DRAWS = 2000


def facts_of_run(folder: Path) -> dict[str, Any]:
    """Read what the model card says of a run.

    Args:
        folder: The run folder.

    Returns:
        Plain values: `run`, its name; `data`, the dataset's class and arguments, folders left out; `metrics`;
        `select_on`; and, if it was tested, `test`: images, MAE with a 95 % interval, and both for each level.

    Raises:
        ConfigError: If the configuration or the metrics can't be read.
    """
    config = read_mapping(folder / "config.yaml")
    data = config.get("data") or {}
    name = str(data.get("class_path", "")).rpartition(".")[2]
    arguments = {key: _without_folders(value) for key, value in (data.get("init_args") or {}).items()}
    facts: dict[str, Any] = {"run": folder.name, "data": {"class": name, "arguments": arguments}}
    metrics = folder / "metrics.json"
    if metrics.is_file():
        known = read_mapping(metrics)
        facts["metrics"] = {key: value for key, value in known.items() if isinstance(value, int | float)}
        facts["select_on"] = known.get("select_on", "val")
    tested = folder / "test_predictions.csv"
    if tested.is_file():
        with tested.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
            facts["test"] = _test(list(csv.DictReader(lines)))
    return facts


def read_mapping(file: Path) -> dict[str, Any]:
    """Read a file of a run folder that has values by name, `config.yaml` or `metrics.json`.

    Raises:
        ConfigError: If it can't be read, or holds something else.
    """
    try:
        # JSON is YAML, but for numbers such as `1e-05`.
        parse = parse_json if file.suffix == ".json" else parse_yaml
        found = parse(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} can't be read ({error}); restore the run folder.") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{file} has no values by name; restore the run folder.")
    return found


def _without_folders(value: Any) -> Any:
    """Keep the name of a file and not where it is: cards are published."""
    if isinstance(value, str) and ("/" in value or "\\" in value):
        return value.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return [_without_folders(item) for item in value] if isinstance(value, list) else value


def _test(rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    errors = np.array([float(row["error"]) for row in rows])
    phrases = [row["true_phrase"] for row in rows]
    targets = np.array([float(row["target"]) for row in rows])
    first = {phrase: targets[np.array(phrases) == phrase].min() for phrase in set(phrases)}
    levels = {
        phrase: _summary(errors[np.array(phrases) == phrase], interval=False)
        for phrase in sorted(first, key=first.__getitem__)
    }
    return {**_summary(errors), "targets": [float(targets.min()), float(targets.max())], "levels": levels}


def _summary(errors: npt.NDArray[np.float64], *, interval: bool = True) -> dict[str, Any]:
    """Return the number of images, MAE and mean error; with the percentile bootstrap interval of the MAE."""
    sizes = np.abs(errors)
    found = {"images": len(errors), "mae": float(sizes.mean()), "bias": float(errors.mean())}
    if not interval:
        return found
    generator = np.random.default_rng(0)
    means = [sizes[generator.integers(0, len(sizes), len(sizes))].mean() for _ in range(_DRAWS)]
    return {**found, "mae_interval": [float(end) for end in np.percentile(means, [2.5, 97.5])]}

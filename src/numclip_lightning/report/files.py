"""Metrics from predictions: what a run did not record when it ran is computed from its test_predictions.csv."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from numclip_lightning.metrics import Measure, Needs, build_metrics, measure_of
from numclip_lightning.plain import parse_yaml
from numclip_lightning.report.images import levels_of
from numclip_lightning.report.predictions import probability_columns, read_predictions
from numclip_lightning.scale import OrdinalScale

__all__ = ["metric_of", "with_metrics_of_files"]

_SPLIT = "test_"


def with_metrics_of_files(records: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> list[Mapping[str, Any]]:
    """Add to each finished run the asked metrics that it lacks and its predictions give.

    Args:
        records: See `read_record`.
        metrics: The metrics of the report, such as `test_rps`. Of `val_` metrics no predictions are kept; the
            epsilon-error needs the spread of guesses; both stay as they were recorded.

    Returns:
        The records; what a run has recorded is never replaced.

    Raises:
        DataError: If the predictions of a run that lacks a metric are missing or can't be used.
        ConfigError: If a metric is not known.
    """
    return [_with_metrics(record, metrics) for record in records]


def _with_metrics(record: Mapping[str, Any], metrics: Sequence[str]) -> Mapping[str, Any]:
    recorded = record.get("metrics") or {}
    lacking = [metric for metric in metrics if metric.startswith(_SPLIT) and metric not in recorded]
    if record.get("status") != "finished" or not lacking:
        return record
    frame = read_predictions(record)
    found = {metric: metric_of(metric, frame, record.get("folder")) for metric in lacking}
    return {**record, "metrics": {**recorded, **{name: value for name, value in found.items() if value is not None}}}


def metric_of(metric: str, frame: pd.DataFrame, folder: Path | None = None) -> float | None:
    """Compute a metric from predictions.

    Args:
        metric: Its key, the split in front.
        frame: See `read_predictions`.
        folder: The run's folder: its configuration has the scale, which the continuous ranked probability score needs.

    Returns:
        The metric; None where the predictions can't give it: without probabilities, or without the scale.

    Raises:
        ConfigError: If the metric is not known.
    """
    measure = measure_of(metric)
    arguments = _arguments(measure, frame)
    scale = _scale(measure, frame, folder)
    if arguments is None or scale is None:
        return None
    (collection,) = build_metrics([metric.removeprefix(_SPLIT)], scale).values()
    for part in collection.values():
        # The file has the images of all processes, and only the first one reads it: the others would be waited for.
        part.distributed_available_fn = _alone
    collection.update(*arguments)
    (value,) = collection.compute().values()
    return float(value)


def _alone() -> bool:
    return False


def _arguments(measure: Measure, frame: pd.DataFrame) -> tuple[Tensor, ...] | None:
    """Return what the metric is updated with."""
    value, target = (torch.tensor(frame[name].to_numpy("float32")) for name in ("value", "target"))
    if measure.needs == "value":
        return value, target
    columns = probability_columns(frame)
    # Without probabilities levels have no order.
    if not columns or measure.needs == "spread":
        return None
    probabilities = torch.tensor(frame[columns].to_numpy("float32"))
    preds, level = (torch.from_numpy(levels).long() for levels in levels_of(frame))
    if (level < 0).any():
        return None
    found: dict[Needs, tuple[Tensor, ...]] = {
        "level": (preds, level),
        "value_by_level": (value, target, level),
        "probabilities": (probabilities, level),
        "distribution": (probabilities, target),
    }
    return found[measure.needs]


def _scale(measure: Measure, frame: pd.DataFrame, folder: Path | None) -> OrdinalScale | None:
    """Return a scale with the levels of the predictions; that of the run where the metric needs their numbers."""
    levels = len(probability_columns(frame))
    if measure.needs != "distribution":
        return OrdinalScale(minimum=0, maximum=max(levels - 1, 0))
    try:
        config = parse_yaml(Path(str(folder), "config.yaml").read_text(encoding="utf-8"))
        scale = OrdinalScale(**config["model"]["init_args"]["scale"])
    except (OSError, TypeError, KeyError, ValueError):
        return None
    return scale if scale.num_levels == levels else None

"""A calibration as JSON, in the folder of the run that it is of, or within another file."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from numclip_lightning.calibration.answers import Choices
from numclip_lightning.calibration.conformal import Threshold
from numclip_lightning.calibration.distributions import LevelValues
from numclip_lightning.calibration.fitted import Calibration
from numclip_lightning.calibration.temperature import Temperature
from numclip_lightning.calibration.thresholds import Thresholds
from numclip_lightning.errors import ConfigError
from numclip_lightning.plain import parse_json

__all__ = ["CALIBRATION", "calibration_of", "plain_calibration", "read_calibration", "write_calibration"]

CALIBRATION = "calibration.json"
# Files without quantiles of values are still written as of the first version, which older programs read.
_VERSION = 2


def plain_calibration(calibration: Calibration) -> dict[str, Any]:
    """Return a calibration as plain values; a threshold that is infinite, for want of images, is None."""
    values = calibration.values
    return {
        "format_version": _VERSION if calibration.shares else 1,
        "n": calibration.n,
        **asdict(calibration.choices),
        "phrases": list(calibration.phrases),
        "values": None if values is None else _plain_values(values),
        "interval": _plain(calibration.interval),
        "set": None if calibration.sets is None else _plain(calibration.sets),
        "temperature": {"by": calibration.choices.temperature, "value": None}
        if calibration.temperature is None
        else asdict(calibration.temperature),
        **({"quantile_shares": list(calibration.shares)} if calibration.shares else {}),
        "notes": list(calibration.notes),
        "source": dict(calibration.source),
    }


def calibration_of(plain: Mapping[str, Any], where: str = "the calibration") -> Calibration:
    """Build a calibration from the plain values of `plain_calibration`.

    Args:
        plain: The values.
        where: Their place, for messages.

    Raises:
        ConfigError: If a value is missing or wrong, or they are of a later version.
    """
    try:
        if plain["format_version"] > _VERSION:
            raise ConfigError(
                f"{where} has the format version {plain['format_version']}, this program reads {_VERSION}; install a "
                "later numclip-lightning."
            )
        values, temperature = plain["values"], dict(plain["temperature"])
        chosen = {name: plain[name] for name in ("coverage", "intervals", "sets", "by")}
        return Calibration(
            choices=Choices(**chosen, temperature=temperature["by"]),
            phrases=tuple(plain["phrases"]),
            values=values
            and LevelValues(
                tuple(values["lower"]), tuple(values["upper"]), values["step"], bool(values.get("logarithmic", False))
            ),
            n=plain["n"],
            interval=_thresholds(plain["interval"]),
            sets=plain["set"] and _thresholds(plain["set"]),
            temperature=None if temperature["value"] is None else Temperature(**temperature),
            notes=tuple(plain["notes"]),
            source=plain["source"],
            shares=tuple(map(float, plain.get("quantile_shares", ()))),
        )
    except ConfigError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{where} can't be read ({error!r}); make it again with numclip calibrate.") from error


def write_calibration(folder: Path, calibration: Calibration, **source: Any) -> Path:
    """Write `calibration.json` into a folder, whole or not at all.

    Args:
        folder: The folder, which exists.
        calibration: The calibration.
        **source: What else is known of where it comes from.
    """
    path = folder / CALIBRATION
    whole = plain_calibration(replace(calibration, source={**calibration.source, **source}))
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    new.replace(path)
    return path


def read_calibration(place: Path) -> Calibration | None:
    """Read a calibration.

    Args:
        place: A folder with `calibration.json`, or the file itself.

    Returns:
        The calibration; None if a folder has none, as those of older versions.

    Raises:
        ConfigError: If the file is missing, or can't be used.
    """
    path = place / CALIBRATION if place.is_dir() else place
    if place.is_dir() and not path.is_file():
        return None
    try:
        plain = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} can't be read ({error}); give the calibration.json of a run.") from error
    if not isinstance(plain, dict):
        raise ConfigError(f"{path} is no calibration; give the calibration.json of a run.")
    return calibration_of(plain, str(path))


def _plain_values(values: LevelValues) -> dict[str, Any]:
    plain = {**asdict(values), "lower": list(values.lower), "upper": list(values.upper)}
    if not values.logarithmic:
        # As older programs write it.
        del plain["logarithmic"]
    return plain


def _plain(found: Thresholds) -> dict[str, Any]:
    return {**_one(found.overall), "groups": {name: _one(threshold) for name, threshold in found.groups.items()}}


def _one(threshold: Threshold) -> dict[str, Any]:
    return {"n": threshold.n, "threshold": threshold.value if threshold.is_finite else None}


def _thresholds(plain: Mapping[str, Any]) -> Thresholds:
    groups = {str(name): _threshold(found) for name, found in plain["groups"].items()}
    return Thresholds(_threshold(plain), groups)


def _threshold(plain: Mapping[str, Any]) -> Threshold:
    value = plain["threshold"]
    return Threshold(int(plain["n"]), math.inf if value is None else float(value))

"""Secrets in a configuration, which would be written to the run folder, to checkpoints and to loggers."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numclip_lightning.errors import ConfigError

__all__ = ["refuse_secrets"]

_VARIABLE = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD)$")
_ARGUMENT = re.compile(r"(^|_)(api_?key|(auth|access)_token|secret|secret_key|password|passwd)$", re.IGNORECASE)
# Shorter ones are also words.
_LEAST = 8
# Inside a longer text, shorter ones are there by chance.
_LEAST_PART = 16


def refuse_secrets(config: Mapping[str, Any]) -> None:
    """Refuse a configuration that holds a key or a password; neither is printed.

    The value of an environment variable such as `HF_TOKEN` is found where it is a whole text, or a password in an
    address (`user:VALUE@host`, `key=VALUE`), if it has 8 characters or more; and between other signs, as a part of a
    path, if it has 16 or more, letters and digits among them, as keys have. A variable that names a file is no secret.

    Args:
        config: The arguments of a run, nested.

    Raises:
        ConfigError: If an argument has the name of a secret, or the value of an environment variable with such a name.
    """
    kept = {name: _pattern(value) for name, value in os.environ.items() if _is_secret(name, value)}
    for place, value in _plain_values(config):
        if _ARGUMENT.search(place.rpartition(".")[2]) and value:
            raise ConfigError(
                f"{place} holds a secret, which would be written to config.yaml and to the loggers; leave it out, and "
                "give it in the environment, where its library looks for it (W&B: WANDB_API_KEY)."
            )
        if not isinstance(value, str):
            continue
        if found := next((name for name, pattern in kept.items() if pattern.search(value)), None):
            raise ConfigError(
                f"{place} contains the value of the environment variable {found}, which would be written to "
                "config.yaml and to the loggers; leave it out: the library that needs it reads the variable. If it is "
                f"no secret, run the command without the variable: env -u {found} numclip ..."
            )


def _is_secret(name: str, value: str) -> bool:
    if not _VARIABLE.search(name.upper()) or len(value) < _LEAST:
        return False
    try:
        return not Path(value).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        # Too long for a name, as keys are.
        return True


def _pattern(secret: str) -> re.Pattern[str]:
    """Return what finds a secret in a text."""
    escaped = re.escape(secret)
    places = [rf"\A{escaped}\Z", rf"[:=]{escaped}(?=[@&;]|\Z)"]
    if len(secret) >= _LEAST_PART and re.search(r"[^\W\d_]", secret) and re.search(r"\d", secret):
        # No part of a longer name or number.
        places.append(rf"(?<![^\W_]){escaped}(?![^\W_])")
    return re.compile("|".join(places))


def _plain_values(value: Any, place: str = "") -> Iterator[tuple[str, str | int | float]]:
    """Yield every text and number with its dotted place."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _plain_values(part, f"{place}.{name}".removeprefix("."))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _plain_values(part, place)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield place, value

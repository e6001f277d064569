"""Secrets in a configuration, which would be written to the run folder, to checkpoints and to loggers."""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from numclip_lightning.errors import ConfigError

__all__ = ["refuse_secrets"]

_VARIABLE = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD)$")
_ARGUMENT = re.compile(r"(^|_)(api_?key|(auth|access)_token|secret|secret_key|password|passwd)$", re.IGNORECASE)
# Shorter ones are also words.
_LEAST = 8


def refuse_secrets(config: Mapping[str, Any]) -> None:
    """Refuse a configuration that holds a key or a password; neither is printed.

    Args:
        config: The arguments of a run, nested.

    Raises:
        ConfigError: If an argument has the name of a secret, or the value of an environment variable with such a name.
    """
    kept = {
        value: name for name, value in os.environ.items() if _VARIABLE.search(name.upper()) and len(value) >= _LEAST
    }
    for place, value in _texts(config):
        if _ARGUMENT.search(place.rpartition(".")[2]) and value:
            raise ConfigError(
                f"{place} holds a secret, which would be written to config.yaml and to the loggers; leave it out, and "
                "give it in the environment, where its library looks for it (W&B: WANDB_API_KEY)."
            )
        if found := next((name for secret, name in kept.items() if secret in value), None):
            raise ConfigError(
                f"{place} contains the value of the environment variable {found}, which would be written to "
                "config.yaml and to the loggers; leave it out: the library that needs it reads the variable."
            )


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text with its dotted place."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _texts(part, f"{place}.{name}".removeprefix("."))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part, place)
    elif isinstance(value, str):
        yield place, value

"""Nested configurations as flat ones, with the names that flags and sweeps use."""

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["flags_of", "flatten"]


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join nested keys with dots; an empty mapping is a value.

    Args:
        tree: A nested mapping.
        prefix: Text before each key.

    Example:
        >>> flatten({"model": {"optimizer": {"name": "SGD", "args": {}}}, "seed": 0})
        {'model.optimizer.name': 'SGD', 'model.optimizer.args': {}, 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key: value}
    return flat


def flags_of(args: Mapping[str, Any]) -> list[str]:
    """Write arguments as words of the command line; what is no text as JSON.

    Args:
        args: Values by their names with dots.

    Example:
        >>> flags_of({"model.weighting": "none", "data.augment": True})
        ['--model.weighting=none', '--data.augment=true']
    """
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in args.items()]

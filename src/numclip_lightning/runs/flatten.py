"""Nested configurations as flat ones, with the names that flags and sweeps use."""

from collections.abc import Mapping
from typing import Any

__all__ = ["flatten"]


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

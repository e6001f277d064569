"""Words as the agents of sweeps write them: values are Python's, also within lists and mappings."""

import ast
import json
from collections.abc import Sequence
from typing import Any

__all__ = ["with_plain_values"]


def with_plain_values(words: Sequence[str]) -> list[str]:
    """Return the words of a command with values that YAML reads as they are meant.

    An agent of Weights & Biases writes `str(value)`: `None`, and `{'weight_decay': 1e-05, 'foreach': None}`. YAML reads
    the first as a word, and the second with that word in it.

    Args:
        words: Flags such as `--key=value`, or `--key` and then `value`.
    """
    found: list[str] = []
    for word in words:
        flag, equals, value = word.partition("=")
        if word.startswith("--") and equals:
            found.append(f"{flag}={_plain(value)}")
        elif found and found[-1].startswith("--") and "=" not in found[-1]:
            found.append(_plain(word))
        else:
            found.append(word)
    return found


def _plain(text: str) -> str:
    """Return a value for YAML; one that is no Python list, mapping or None stays as it is."""
    if text == "None":
        return "null"
    if text[:1] not in ("[", "{"):
        return text
    try:
        value = ast.literal_eval(text)
        # JSON is YAML, and leaves no word without quotes.
        return json.dumps(value, ensure_ascii=False, allow_nan=False) if _is_json(value) else text
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(held) for key, held in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    return value is None or isinstance(value, bool | int | float | str)

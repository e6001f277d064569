"""Plain values from YAML and JSON that strangers may have written: whatever is in them ends soon, and in words."""

import json
from typing import Any

import yaml

__all__ = ["TOO_DEEP", "parse_json", "parse_yaml"]

TOO_DEEP = "it is nested too deeply"
"""What is wrong with lists within lists without end."""

# Parts of a YAML text may stand for others: ten lines can be a billion values.
_MOST_VALUES = 1_000_000


def parse_json(text: str | bytes) -> Any:
    """Return the value of a text in JSON.

    Raises:
        ValueError: If it is none.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error


def parse_yaml(text: str) -> Any:
    """Return the plain value of a text in YAML; no tag in it makes another object.

    Raises:
        ValueError: If it is none, or has over a million values once its aliases are written out.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if _values(node, {}) > _MOST_VALUES:
            raise ValueError(f"its aliases stand for more than {_MOST_VALUES:,} values")
        return None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error
    finally:
        loader.dispose()


def _values(node: yaml.Node | None, known: dict[int, int]) -> int:
    """Return how many values a node stands for with its aliases written out; each is looked at once."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        # What holds itself has no end.
        known[id(node)] = _MOST_VALUES + 1
        pairs = isinstance(node, yaml.MappingNode)
        below = (part for pair in node.value for part in pair) if pairs else iter(node.value)
        known[id(node)] = 1 + sum(_values(part, known) for part in below)
    return known[id(node)]

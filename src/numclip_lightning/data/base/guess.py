"""A proposal for data, each part of it with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["MOST_WORDS", "Guess"]

MOST_WORDS = 30
"""More different words are no grades."""


@dataclass
class Guess:
    """What is proposed.

    Attributes:
        arguments: Of `ListDataModule`.
        name: What the number is called, by its column; empty if nothing tells.
        words: The words of the numbers 0, 1, 2 and so on, where labels are words.
        rows: The lines of a list, by column, which must be written because labels are words; `target_column` and
            `path_column` among the arguments are of this list.
        reasons: What was guessed, and why, a sentence each.
    """

    arguments: dict[str, Any]
    name: str = ""
    words: list[str] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def say_order(self, words: Sequence[str], known: bool) -> None:
        """Take over the words of the numbers, and say where their order is from."""
        self.words, order = list(words), ", ".join(words)
        self.reasons.append(
            f"The order is by meaning: {order}." if known else f"EDIT: the order is that of the alphabet: {order}."
        )

    def say_splits(self) -> None:
        """Say which splits there are; without any, propose a part for testing."""
        given = [name for name in ("val_file", "test_file") if name in self.arguments]
        if given:
            self.reasons.append(f"The splits are there: {', '.join(given)}.")
        if not {"split_column", "test_file", "test_fraction"} & self.arguments.keys():
            self.arguments["test_fraction"] = 0.2
        if "test_fraction" in self.arguments:
            whole = "whole groups" if "group_column" in self.arguments else "images of all numbers"
            self.reasons.append(f"There is no test list: a fifth is drawn for testing, {whole}, the same in every run.")

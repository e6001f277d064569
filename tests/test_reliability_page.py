"""docs/reliability.md: every promise names the command that shows it, and the command selects a test."""

import ast
import itertools
import re
import shlex

import pytest
from _pytest.mark.expression import Expression

from support.places import REPOSITORY

PAGE = (REPOSITORY / "docs" / "reliability.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`((?:pytest tests/|python scripts/)[^`]*)`")
COMMANDS = [shlex.split(found) for found in dict.fromkeys(NAMED.findall(PAGE))]


def named_in(file: str) -> dict[tuple[str, ...], bool]:
    """Return the names that `-k` looks at for each test of a file, and whether the whole test is slow."""
    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    found = {}
    for node in tree.body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        above = (node.name,) if isinstance(node, ast.ClassDef) else ()
        for test in inner:
            if isinstance(test, ast.FunctionDef) and test.name.startswith("test"):
                marks = [ast.unparse(mark) for mark in test.decorator_list]
                found[(file, *above, test.name)] = "pytest.mark.slow" in marks
    return found


def test_every_promise_has_a_command() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    # The table of losses that contrast a batch promises nothing.
    promises = [row for row in rows if row.count(" | ") == 2]
    assert len(promises) > 30
    for row in promises:
        if not row.startswith(("| promise", "| what comes")):
            assert NAMED.search(row) or "SECURITY.md" in row, row


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_its_command_selects_a_test(words: list[str]) -> None:
    files = [word for word in words if word.endswith(".py")]
    assert files
    options = dict(itertools.pairwise(words))
    if words[0] == "python":
        script = (REPOSITORY / files[0]).read_text(encoding="utf-8")
        assert all(f'"{word}"' in script for word in words if word.startswith("--"))
        return
    # Without `-k` whatever is a test.
    wanted, marks = Expression.compile(options.get("-k", "test")), Expression.compile(options.get("-m", "not slow"))
    for file in files:
        named = {names: slow for names, slow in named_in(file).items() if selects(wanted, names)}
        assert named, f"{words} names no test of {file}"
        runs = [marks.evaluate(lambda name, slow=slow: name == "slow" and slow) for slow in named.values()]  # type: ignore[misc]
        assert any(runs), f"{words} leaves out what is slow"


def selects(wanted: Expression, names: tuple[str, ...]) -> bool:
    return bool(wanted.evaluate(lambda part: any(str(part).lower() in name.lower() for name in names)))

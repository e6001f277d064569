"""The examples in docstrings give the results that they show."""

import doctest
import importlib
from pathlib import Path

import pytest
import torch

from support.places import REPOSITORY

SRC = REPOSITORY / "src"
# Enough to show how the public names are used; a number, so that a lost example is seen.
FEWEST = 15


def examples_of(file: Path) -> bool:
    return ">>>" in file.read_text(encoding="utf-8")


def module_name(file: Path) -> str:
    parts = file.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = sorted(module_name(file) for file in (SRC / "numclip_lightning").rglob("*.py") if examples_of(file))


def documented(name: str) -> list[doctest.DocTest]:
    """Return the docstrings of a module that have examples."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        pytest.skip(f"{name} needs {error.name}")
    return [found for found in doctest.DocTestFinder(exclude_empty=True).find(module) if found.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_the_results_they_show(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    runner = doctest.DocTestRunner()
    for docstring in documented(name):
        runner.run(docstring)
    failed = runner.summarize(verbose=False).failed
    assert not failed, capsys.readouterr().out


def test_enough_public_names_have_an_example() -> None:
    assert sum(len(documented(name)) for name in MODULES) >= FEWEST

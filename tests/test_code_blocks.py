"""The blocks of code on every page: each has a language that is checked, Python has names that exist, YAML is YAML."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from support.pages import blocks, indented
from support.places import REPOSITORY

PAGES = [
    *sorted(REPOSITORY.glob("docs/**/*.md")),
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
]
# Commands of numclip are parsed (`console`, tests/test_readme.py); `sh` is other programs, or what takes hours.
LANGUAGES = {"console", "sh", "python", "yaml", "csv", "json", "text", "html"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())


def text_of(page: Path) -> str:
    return indented(page.read_text(encoding="utf-8"))


@each_page
def test_every_block_has_a_language_and_is_closed(page: Path) -> None:
    fences = re.findall(r"^```(\w*)", text_of(page), flags=re.MULTILINE)
    assert set(fences[::2]) <= LANGUAGES
    assert set(fences[1::2]) <= {""}
    assert len(fences) % 2 == 0


@each_page
def test_python_can_be_compiled_and_what_it_imports_exists(page: Path) -> None:
    for _, code in blocks(text_of(page), "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom):
                assert node.module
                module = import_module(node.module)
                assert [name.name for name in node.names if not hasattr(module, name.name)] == []
            elif isinstance(node, ast.Import):
                for name in node.names:
                    import_module(name.name)


@each_page
def test_yaml_can_be_read(page: Path) -> None:
    for _, text in blocks(text_of(page), "yaml"):
        assert isinstance(yaml.safe_load(text), (dict, list))


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("- a\n\n    ```python\n    x = 1\n    ```\n", "python", ["x = 1\n"]),
        ("```yaml name.yaml\na: 1\n```\n", "yaml", ["a: 1\n"]),
    ],
)
def test_blocks_are_found_in_lists_too(text: str, language: str, found: list[str]) -> None:
    assert [block for _, block in blocks(indented(text), language)] == found

"""The blocks of code on every page: each has a language that is checked, Python has names that exist, YAML is YAML."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from support.pages import blocks, commands, indented
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


@each_page
def test_one_s_own_list_does_not_stand_beside_the_lists_of_a_shipped_configuration(page: Path) -> None:
    for words in commands(text_of(page)):
        if not any(word.startswith("--data.train_file=") for word in words):
            continue
        for file in (Path(REPOSITORY, word) for word in words if word.startswith("configs/")):
            data = (yaml.safe_load(file.read_text(encoding="utf-8")).get("data") or {}).get("init_args", {})
            lists = [name for name in data if name.endswith("_file") and data[name]]
            assert [name for name in lists if not any(word.startswith(f"--data.{name}=") for word in words)] == []


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("- a\n\n    ```python\n    x = 1\n    ```\n", "python", ["x = 1\n"]),
        ("```yaml name.yaml\na: 1\n```\n", "yaml", ["a: 1\n"]),
    ],
)
def test_blocks_are_found_in_lists_too(text: str, language: str, found: list[str]) -> None:
    assert [block for _, block in blocks(indented(text), language)] == found

"""Every public set has a configuration, a page that names its files, and a row; no page is left over."""

import re
from pathlib import Path

import pytest

from support.fake_sets import MAKERS
from support.places import CONFIGS, REPOSITORY

PAGES = REPOSITORY / "docs" / "datasets"


@pytest.mark.parametrize("name", MAKERS)
def test_a_page_names_what_the_tiny_copy_has(name: str, tmp_path: Path) -> None:
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", page, flags=re.MULTILINE) == ["Files", "Protocol", "To know"]
    assert f"(../../configs/{name}.yaml)" in page
    assert (CONFIGS / f"{name}.yaml").is_file()
    MAKERS[name](tmp_path)
    # Its folders and lists; the page may give a split's as one of several.
    places = {file.relative_to(tmp_path).parts[0] for file in tmp_path.rglob("*") if file.is_file()}
    assert places
    assert {place for place in places if f"PATH/{place}" not in page} == set()


def test_each_page_is_linked_from_both_tables() -> None:
    for table, way in ((REPOSITORY / "README.md", "docs/datasets/"), (PAGES / "README.md", "")):
        linked = set(re.findall(rf"\]\({way}([a-z0-9_]+)\.md\) \| ", table.read_text(encoding="utf-8")))
        assert linked == {page.stem for page in PAGES.glob("*.md")} - {"README"} == set(MAKERS)

"""docs/methods: one page for each overlay, all in one form; every command can be run, every link leads somewhere."""

import re
from pathlib import Path

import pytest

from numclip_lightning.runs.command import NumClipCLI
from support.pages import commands, workspace
from support.places import CONFIGS, REPOSITORY

FOLDER = REPOSITORY / "docs" / "methods"
PAGES = sorted(FOLDER.glob("*.md"))
METHOD_PAGES = [page for page in PAGES if page.stem != "README"]
OVERLAYS = {file.stem for file in CONFIGS.glob("methods/*.yaml")}
HEADINGS = ["What it does", "Defaults", "Run it", "Where ours differs"]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def test_every_overlay_has_a_page_of_its_name() -> None:
    assert {page.stem for page in METHOD_PAGES} == {*OVERLAYS, "numclip"}


@pytest.mark.parametrize("page", METHOD_PAGES, ids=lambda page: page.stem)
def test_a_page_has_the_form_of_all(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert [heading for heading in found if heading in HEADINGS] == HEADINGS
    if page.stem in OVERLAYS:
        assert f"configs/methods/{page.stem}.yaml" in {word for words in commands(text) for word in words}


@each_page
def test_every_command_of_a_page_can_be_parsed(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace(tmp_path, "mine.yaml"))
    found = commands(page.read_text(encoding="utf-8"))
    assert found
    for words in found:
        assert NumClipCLI(words, until="parsed").verb == words[0]


@each_page
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not link.startswith("https://") and not (page.parent / link).exists()] == []

"""docs/methods: every overlay has its page, every command on a page is one, every link leads somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from numclip_lightning.runs.command import NumClipCLI
from support.places import REPOSITORY

FOLDER = REPOSITORY / "docs" / "methods"
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")
PAGES = sorted(FOLDER.glob("*.md"))
OVERLAYS = sorted(file.stem for file in REPOSITORY.glob("configs/methods/*.yaml"))


def commands(page: Path) -> list[list[str]]:
    """Return the words of every command of a page, without `numclip`."""
    blocks = re.findall(r"^```console\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [words[1:] for words in map(shlex.split, lines) if words[0] == "numclip"]


def test_every_overlay_stands_in_the_index() -> None:
    rows = re.findall(r"^\| \[.*?\]\((\w+\.md)\).*? \| `(\w+)` \|", INDEX, flags=re.MULTILINE)
    assert sorted(overlay for _, overlay in rows) == OVERLAYS
    assert {page for page, _ in rows} | {"README.md", "numclip.md"} == {page.name for page in PAGES}
    for page, overlay in rows:
        used = {word for words in commands(FOLDER / page) for word in words}
        assert f"configs/methods/{overlay}.yaml" in used


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_is_one(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    # Parsed against every type, with nothing built: the weights of some backbones are not here.
    assert commands(page)
    for words in commands(page):
        assert NumClipCLI(words, until="parsed").verb == words[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not link.startswith("https://") and not (page.parent / link).exists()] == []
    if page.stem != "README":
        assert "## Where ours differs" in page.read_text(encoding="utf-8")

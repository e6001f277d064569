"""The site: every page has its place, generated pages say what the program has, links are whole."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import griffe
import pytest
import yaml
from markdown import Markdown

import docs_examples
import docs_hooks
import look_at_site
import write_reference
from numclip_lightning.cli import VERBS
from numclip_lightning.data import __all__ as data_names
from numclip_lightning.methods import __all__ as method_names
from support.browser import CHROMIUM, browser
from support.places import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = {file.relative_to(DOCS).as_posix() for file in DOCS.rglob("*.md")}


def settings_of() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """What mkdocs.yml says."""
    return settings_of()


def entries(nav: Any) -> Iterator[str]:
    """Yield the pages of a navigation."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from entries(part)


def test_every_page_is_in_the_navigation_once(settings: dict[str, Any]) -> None:
    found = list(entries(docs_hooks.expand(settings["nav"], sorted(PAGES))))
    generated = {"reference/verbs.md", "reference/keys.md", "reference/configurations.md", "reference/mini.md",
                 "changelog.md", "contributing.md"}  # fmt: skip
    assert sorted(found) == sorted(PAGES | generated)


def test_a_page_of_tomorrow_finds_its_place(settings: dict[str, Any]) -> None:
    new = {"methods/newest.md", "datasets/newest.md", "newest.md"}
    assert new <= set(entries(docs_hooks.expand(settings["nav"], sorted(PAGES | new))))


def test_the_site_asks_no_other_server(settings: dict[str, Any]) -> None:
    assert settings["theme"]["font"] is False
    assert "offline" in settings["plugins"]
    assert not [value for key in ("extra_css", "extra_javascript") for value in settings.get(key, []) if ":" in value]


@pytest.mark.parametrize(
    ("text", "led"),
    [
        ("[a](../CHANGELOG.md)", "[a](../changelog.md)"),
        ("[a](../README.md#results)", "[a](../index.md#results)"),
        ("[a](../configs/ava.yaml)", "[a](../reference/configurations.md#configs-ava-yaml)"),
        ("[a](../docs/metrics.md#table)", "[a](../metrics.md#table)"),
        ("[a](../LICENSE)", "a (`LICENSE`)"),
        ("[`LICENSE`](../LICENSE)", "`LICENSE`"),
        ("[a](02_your_own_data.ipynb)", "[a](02_your_own_data.md)"),
        ("[a](https://example.org/x.md) [b](#here)", "[a](https://example.org/x.md) [b](#here)"),
        # What is not there stays, for the strict build to refuse.
        ("[a](../nothing.md)", "[a](../nothing.md)"),
    ],
)
def test_links_that_leave_the_pages_are_led_to_them(text: str, led: str) -> None:
    assert docs_hooks.lead(text, Path("notebooks"), "tutorials/new.md") == led


def shown(markdown: str) -> str:
    """The HTML of a page, without its tags."""
    extensions = [name if isinstance(name, str) else next(iter(name)) for name in settings_of()["markdown_extensions"]]
    page = SimpleNamespace(file=SimpleNamespace(src_uri="new.md", generated_by=None))
    text = docs_hooks.on_page_markdown(markdown, page=page)  # type: ignore[arg-type]
    return str(Markdown(extensions=extensions).convert(text))


def test_a_block_that_is_a_file_is_shown_as_a_block_with_its_name() -> None:
    html = shown("Write\n\n```python mine.py\nx = 1\n\ny = 2\n```\n\nand\n\n```console\nnumclip fit\n```\n")
    assert "```" not in html
    assert html.count("<pre>") == 2
    assert '<span class="filename">mine.py</span>' in html


def test_a_cell_that_prints_markdown_does_not_end_its_block() -> None:
    html = shown(docs_hooks.block("# A card\n```python\nx = 1\n```\n## Levels", "text { .output }") + "\n\n## Next")
    assert html.count("<pre>") == 1
    assert re.findall(r"<h\d[^>]*>(\w+)", html) == ["Next"]


def test_examples_of_docstrings_are_sections_of_code() -> None:
    text = "Add.\n\nExample:\n    >>> 1 + 1\n    2\n"
    thing = griffe.Function("add", docstring=griffe.Docstring(text))
    docs_examples.ExampleSections().on_instance(obj=thing)
    assert thing.docstring is not None
    kinds = [section.kind.value for section in thing.docstring.parse("google")]
    assert kinds == ["text", "examples"]


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: str) -> None:
    text = re.sub(r"^```.*?^```$", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    generated = ("verbs.md", "keys.md", "configurations.md")
    for target in re.findall(r"(?<!`)\]\(([^)\s]+)\)", text):
        address, _, anchor = target.partition("#")
        if re.match(r"\w+:", target) or Path(address).name in generated:
            continue
        file = (DOCS / page).parent / address if address else DOCS / page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in headings(file.read_text(encoding="utf-8")), target


def headings(text: str) -> set[str]:
    """Return the anchors of the headings of a page."""
    lines = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", line).strip().lower()) for line in lines}


def test_the_page_of_verbs_has_every_verb_with_its_flags() -> None:
    page = write_reference.verbs_page()
    assert re.findall(r"^## (\S+)$", page, flags=re.MULTILINE) == list(VERBS)
    of = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", page, flags=re.MULTILINE | re.DOTALL))
    assert "| `--on_scale` |" in of["export"]
    assert "| `--test_after_fit` | `False` | Test the best checkpoint at the end. |" in of["fit"]
    assert "| `--output` |" in of["predict"]
    # Flags of fit are on the page once, and Lightning's not at all.
    assert page.count("`--features.most_gigabytes`") == 1
    assert "--trainer." not in page


def test_the_page_of_keys_has_every_method_and_dataset() -> None:
    page = write_reference.keys_page()
    titles = set(re.findall(r"^### (\w+)$", page, flags=re.MULTILINE))
    assert {name for name in data_names if name.endswith("DataModule")} <= titles
    assert {"NumCLIP", "NumCLIPPlus", "CoOp", "LearningRates", "LossWeights"} <= titles
    assert {name for name in method_names if name.endswith("CLIP")} <= titles
    part = page.partition("### ListDataModule\n")[2].partition("\n### ")[0]
    assert "| `split_seed` | `int` | `0` | Seed of that part." in part
    assert "Takes the keys of [FileDataModule](#filedatamodule) too." in part


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("built") / "site"
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=REPOSITORY, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True, timeout=600,
    )  # fmt: skip
    return folder


@pytest.mark.slow
def test_the_site_is_built_strictly_and_has_its_search(site: Path) -> None:
    for page in (*PAGES, "reference/verbs.md", "tutorials/01_quickstart.md"):
        name = re.sub(r"README\.md$", "index.md", page)
        assert (site / name).with_suffix(".html").is_file(), page
    assert "NumCLIPPlus" in (site / "search" / "search_index.js").read_text(encoding="utf-8")
    # Nothing that a browser would fetch from elsewhere by itself.
    start = (site / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<(?:script|img)[^>]+src=\"?https?:|<link[^>]+rel=\"?stylesheet\"?[^>]+https?:", start) == []
    # A tutorial shows what its cells print and draw.
    tutorial = (site / "tutorials" / "01_quickstart.html").read_text(encoding="utf-8")
    assert "always 7 things" in tutorial
    assert 'alt="Eight generated scenes' in tutorial


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_no_page_runs_out_of_a_phone_and_the_search_works_from_a_disk(site: Path, tmp_path: Path) -> None:
    assert list(look_at_site.look(site, None)) == []
    with browser(tmp_path) as page:
        assert any("CORAL" in title for title in look_at_site.results(page, site, "CORAL"))

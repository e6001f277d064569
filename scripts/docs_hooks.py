"""What the site has beside the files of docs/: pages read from the program, notebooks, and links that leave docs/.

MkDocs calls these functions by their names (mkdocs.yml, `hooks`).
"""

import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from html import unescape
from pathlib import Path
from typing import Any

import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import tutorials
import write_reference

REPOSITORY = Path(__file__).resolve().parents[1]

# Files outside docs/ that are pages of the site.
_PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "src/numclip_lightning/models/mini/MODEL_CARD.md": "reference/mini.md",
}
_CONFIGURATIONS = "reference/configurations.md"
_LINK = re.compile(r"(?<!`)(!?\[[^\]]*\])\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and put the pages behind each pattern of the navigation in its place.

    Args:
        files: The files of docs/.
        config: The site.
    """
    for name, content in _generated():
        files.append(File.generated(config, name, content=content))
    pages = [file.src_uri for file in files.documentation_pages()]
    config.nav = expand(config.nav, pages)
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links that leave docs/ to their page in the site; a file without a page is named only.

    Args:
        markdown: The page.
        page: Where it is.
    """
    here = page.file.src_uri
    if page.file.generated_by:
        return markdown
    # The colours of `console` expect a prompt, which ours do not have, so that they can be copied.
    markdown = re.sub(r"^(\s*```)console$", r"\1sh", markdown, flags=re.MULTILINE)
    # A block that is a file says its name; the site wants it as a title, or it shows no block at all.
    markdown = re.sub(r"^(\s*```)(\w+) (\S+\.\w+)$", r'\1 { .\2 title="\3" }', markdown, flags=re.MULTILINE)
    return lead(markdown, Path("docs", here).parent, here)


def on_page_content(html: str, **_: Any) -> str:
    """Write formulas as MathML, which browsers draw by themselves: no script, no font of another server.

    Args:
        html: The page.
    """

    def drawn(found: re.Match[str]) -> str:
        display: Any = "block" if found[1] == "div" else "inline"
        drawing = str(latex2mathml.converter.convert(unescape(found[2]), display=display))
        # The theme lets what stands in such a box scroll: a phone is narrower than most formulas.
        return f'<div class="arithmatex">{drawing}</div>' if display == "block" else drawing

    return re.sub(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', drawn, html, flags=re.DOTALL)


def lead(text: str, home: Path, page: str) -> str:
    """Return a text with its links as a page of the site needs them.

    Args:
        text: Markdown.
        home: The folder of the text in the repository, from which its links go.
        page: The page in the site, from docs/ on.
    """

    def led(found: re.Match[str]) -> str:
        words, target = found[1], found[2]
        address, _, anchor = target.partition("#")
        if not address or re.match(r"\w+:", target):
            return found[0]
        file = posixpath.normpath(posixpath.join(home.as_posix(), address))
        if file.startswith("docs/"):
            place = file.removeprefix("docs/")
        elif file in _PAGES:
            place = _PAGES[file]
        elif file.startswith("notebooks/") and file.endswith(".ipynb"):
            place = f"tutorials/{Path(file).stem}.md"
        elif file.startswith("configs/") and file.endswith(".yaml"):
            place, anchor = _CONFIGURATIONS, _anchor(file)
        elif (REPOSITORY / file).exists():
            said = words.strip("[]")
            return f"`{file}`" if said.strip("`") == file else f"{said} (`{file}`)"
        else:
            return found[0]
        way = posixpath.relpath(place, posixpath.dirname(page) or ".")
        return f"{words}({way}{'#' + anchor if anchor else ''})"

    return _LINK.sub(led, text)


def _generated() -> Iterator[tuple[str, str | bytes]]:
    """Yield the name in docs/ and the content of each generated file."""
    for file, page in _PAGES.items():
        if page != "index.md":
            yield page, lead((REPOSITORY / file).read_text(encoding="utf-8"), Path(file).parent, page)
    yield "reference/verbs.md", write_reference.verbs_page()
    yield "reference/keys.md", write_reference.keys_page()
    yield _CONFIGURATIONS, _configurations()
    for notebook in sorted(REPOSITORY.glob("notebooks/*.ipynb")):
        yield from _tutorial(notebook)


def _configurations() -> str:
    """Return the page with the text of every configuration."""
    parts = [
        "# Configurations",
        "Every file of `configs/`, as it is. How they are merged: [your own data](../howto/own_data.md).",
    ]
    folder = ""
    for file in sorted(REPOSITORY.glob("configs/**/*.yaml"), key=lambda file: (file.parent.as_posix(), file.name)):
        name = file.relative_to(REPOSITORY).as_posix()
        if (new := posixpath.dirname(name)) != folder:
            folder = new
            parts.append(f"## {folder} {{: #{_anchor(folder)} }}")
        text = file.read_text(encoding="utf-8").rstrip()
        parts.append(f"### {file.name} {{: #{_anchor(name)} }}\n\n```yaml\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def _anchor(name: str) -> str:
    return re.sub(r"\W+", "-", name)


def _tutorial(notebook: Path) -> Iterator[tuple[str, str | bytes]]:
    """Yield the page of a notebook with its kept outputs, and its pictures."""
    page = f"tutorials/{notebook.stem}.md"
    parts = []
    kept = tutorials.kept(notebook)
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(lead(text, Path("notebooks"), page))
            continue
        parts.append(block(text, "python"))
        for output in kept.get(cell["id"], {}).get("outputs", []):
            if name := output.get("picture"):
                yield f"tutorials/{name}", (notebook.parent / "outputs" / name).read_bytes()
                parts.append(f"![{cell['metadata'].get('alt', '')}]({name})")
            else:
                parts.append(block(output["text"], "text { .output }"))
    parts.insert(1, f"`notebooks/{notebook.name}`, run by the tests; `scripts/tutorials.py` kept what it shows.")
    yield page, "\n\n".join(parts) + "\n"


def block(text: str, kind: str) -> str:
    """Return a code block, fenced by more marks than the text has in it: a cell may print Markdown."""
    fence = "`" * max([3, *(len(marks) + 1 for marks in re.findall("`{3,}", text))])
    return f"{fence}{kind}\n{text}\n{fence}"


def expand(nav: Any, pages: Sequence[str]) -> Any:
    """Return the navigation with the pages behind each pattern: README.md first, none that is named elsewhere.

    Args:
        nav: The navigation of mkdocs.yml, or a part of it.
        pages: All pages.
    """
    named = set(_named(nav))
    return _expand(nav, [page for page in pages if page not in named])


def _named(nav: Any) -> Iterator[str]:
    """Yield the pages that a navigation names one by one."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from _named(part)


def _expand(nav: Any, pages: list[str]) -> Any:
    """Put pages in the places of patterns."""
    if isinstance(nav, dict):
        return {title: _expand(part, pages) for title, part in nav.items()}
    if not isinstance(nav, list):
        return nav
    found: list[Any] = []
    for part in nav:
        if isinstance(part, str) and "*" in part:
            # `*.md` is the pages of docs/ itself; a star does not stand for a slash.
            matching = [page for page in pages if fnmatch(page, part) and page.count("/") == part.count("/")]
            found += sorted(matching, key=lambda page: (not page.endswith("README.md"), page))
        else:
            found.append(_expand(part, pages))
    return found

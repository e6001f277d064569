"""Look at every page of the site in a browser: narrow and wide, light and dark.

    PYTHONPATH=tests python scripts/look_at_site.py site FOLDER [PART OF A NAME ...]

It needs Chromium and a built site (`make docs`). It writes a picture of each page into the folder (`-`: none), and
prints what is wrong with a page whatever its words: it can be pushed sideways, text runs out of the window, a picture
is missing or has no words, marks of Markdown are left. The exit code is 1 if anything is wrong.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from support.browser import Page, browser

WIDTHS = {"narrow": 400, "wide": 1400}
COLOURS = ("light", "dark")
_MOST_HEIGHT = 6000

# Colours change at once, so that a picture does not show the way from one to the other.
_STILL = (
    "document.head.append(Object.assign(document.createElement('style'), "
    "{textContent: '* { transition: none !important }'}))"
)

# Faults of the page that is shown, as a list of sentences.
_FAULTS = r"""
(() => {
  const found = [];
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 1) found.push(`it is ${wide} pixels wider than the window`);
  const article = document.querySelector("article") || document.body;
  for (const image of article.querySelectorAll("img")) {
    const name = image.getAttribute("src").slice(-60);
    if (!image.complete || !image.naturalWidth) found.push(`${name} is not there`);
    if (!image.alt) found.push(`${name} has no words`);
  }
  for (const part of article.querySelectorAll("p, li, td, th, h1, h2, h3")) {
    const texts = [...part.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
    const words = texts.map((text) => text.data).join("");
    const marks = words.match(/```|\]\(|\*\*|\|---/);
    if (marks) found.push(`"${words.trim().slice(0, 40)}" shows the marks ${marks[0]}`);
  }
  for (const part of article.querySelectorAll("p, li, h1, h2, h3, math")) {
    const box = part.getBoundingClientRect();
    const scrolls = part.closest("table, pre, .arithmatex, .md-typeset__table, .md-typeset__scrollwrap");
    if (box.width && box.right > document.documentElement.clientWidth + 1 && !scrolls)
      found.push(`"${part.textContent.trim().slice(0, 40)}" runs out of the window`);
  }
  return found;
})()
"""


def faults(page: Page, file: Path, width: int, colours: str) -> list[str]:
    """Show a page and return what is wrong with it.

    Args:
        page: The tab.
        file: The page.
        width: Of the window, in pixels.
        colours: `light` or `dark`.
    """
    page("Emulation.setDeviceMetricsOverride", width=width, height=1000, deviceScaleFactor=1, mobile=False)
    page("Page.navigate", url=file.resolve().as_uri())
    page.wait_for(f"document.readyState === 'complete' && location.href.includes({file.name!r})")
    # Said here and not by the browser: the theme remembers the colours of its last visit.
    scheme = {"light": "default", "dark": "slate"}[colours]
    page.value(_STILL)
    page.value(f"document.body.setAttribute('data-md-color-scheme', {scheme!r})")
    page.value("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
    page.wait_for("[...document.images].every((image) => image.complete)", seconds=20)
    found: list[str] = page.value(_FAULTS)
    return found


def look(site: Path, folder: Path | None, names: Sequence[str] = ()) -> Iterator[str]:
    """Yield the faults of all pages, each with the page and the window.

    Args:
        site: The built site.
        folder: Where pictures are written; None takes none.
        names: Only pages with one of these in their address; all if it is empty.
    """
    files = [file for file in sorted(site.rglob("*.html")) if file.name != "404.html"]
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as page:
        page("Emulation.setScrollbarsHidden", hidden=True)
        for file in files:
            address = file.relative_to(site).as_posix()
            if names and not any(name in address for name in names):
                continue
            for name, width in WIDTHS.items():
                for colours in COLOURS:
                    for fault in faults(page, file, width, colours):
                        yield f"{address}, {name}, {colours}: {fault}"
                    if folder:
                        height = min(_MOST_HEIGHT, int(page.value("document.documentElement.scrollHeight")))
                        picture = folder / f"{address.removesuffix('.html').replace('/', '-')}-{name}-{colours}.png"
                        page.picture(picture, width, height)


def results(page: Page, site: Path, words: str) -> list[str]:
    """Type words into the search of the start page, as opened from a disk, and return the titles that it finds.

    Args:
        page: The tab.
        site: The built site.
        words: What is searched for.
    """
    page("Emulation.setDeviceMetricsOverride", width=1400, height=1000, deviceScaleFactor=1, mobile=False)
    page("Page.navigate", url=(site / "index.html").resolve().as_uri())
    page.wait_for("document.readyState === 'complete' && !!document.querySelector('.md-search__input')")
    page.value("document.querySelector('.md-search__input').focus()")
    page("Input.insertText", text=words)
    page.wait_for("document.querySelectorAll('.md-search-result__item').length")
    titles = ".md-search-result__item h1, .md-search-result__item h2"
    found: list[str] = page.value(f"[...document.querySelectorAll('{titles}')].map((one) => one.textContent)")
    return found


def main() -> None:
    """Look at the pages, and print what is wrong."""
    site, folder = Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2] != "-" else None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for fault in look(site, folder, sys.argv[3:]):
        number += 1
        print(fault, flush=True)
    print(f"{number} faults")
    sys.exit(int(number > 0))


if __name__ == "__main__":
    main()

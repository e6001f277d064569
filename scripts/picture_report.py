"""Take the pictures of docs/report.md from a report: wide and narrow, light and dark.

    PYTHONPATH=tests python scripts/picture_report.py runs/.../report.html docs/report

It needs Chromium. The pictures show the top of the page, its middle, and the best and worst images, in few colours
(photographs as JPEG), so that they stay small.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

from support.browser import browser

# Name, width, colours, where it begins (pixels, or the section that does) and how high it is, in pixels.
_PICTURES = (
    ("wide", 1400, "light", 0, 2300),
    ("middle", 1400, "dark", 2500, 2400),
    ("narrow", 400, "light", 0, 2300),
    ("images", 1400, "light", "images", 1600),
    ("images_narrow", 400, "dark", "images", 1300),
)


def main(page_file: Path, folder: Path) -> None:
    """Write the pictures of a page into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as page:
        for name, width, colours, top, height in _PICTURES:
            page("Emulation.setScrollbarsHidden", hidden=True)
            page("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": colours}])
            page("Page.navigate", url=page_file.resolve().as_uri())
            page.wait_for("document.readyState === 'complete' && document.querySelectorAll('section').length")
            whole = Path(profile, "whole.png")
            if isinstance(top, str):
                # Images below the fold are loaded late, and a page of another width is of another height.
                page.value("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
                page.picture(whole, width, 1000)
                place = f"document.getElementById('{top}').getBoundingClientRect().top + scrollY"
                top = max(0, int(page.value(place)) - 8)
            page.picture(whole, width, top + height)
            picture = Image.open(whole).convert("RGB").crop((0, top, width, top + height))
            file = folder / f"{name}.{'jpg' if name.startswith('images') else 'png'}"
            if file.suffix == ".png":
                picture = picture.quantize(160, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            picture.save(file, optimize=True, quality=80)
            print(f"{file}: {width} x {height}, {file.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

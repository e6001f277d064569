"""The page, in a browser: drop an image, read its number."""

from pathlib import Path

import pytest
from PIL import Image

from support.browser import CHROMIUM, browser
from support.predictors import random_images, tiny_predictor

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


def test_an_image_that_is_dropped_is_read(address: str, tmp_path: Path) -> None:
    (pixels,) = random_images(1)
    file = tmp_path / "noise.png"
    Image.fromarray(pixels).save(file)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    with browser(tmp_path) as page:
        page("Page.navigate", url=address)
        # The server asks for a key, and so does the page; typed, not set.
        page.wait_for("document.getElementById('key-row') && !document.getElementById('key-row').hidden")
        page.value("document.getElementById('key').focus()")
        page("Input.insertText", text="secret")
        page.value("document.getElementById('key').blur()")
        page.wait_for("document.getElementById('about').textContent.includes('0 to 6')")
        page.drop(file, 200, 150)
        shown = page.wait_for("document.querySelector('.value')?.textContent")
        expected = tiny_predictor()(pixels)
        assert shown.split()[0] == f"{expected.value:.1f}"
        assert page.value("document.querySelectorAll('.scale span').length") == 2
        page.drop(bad, 200, 150)
        assert "can't read the image" in page.wait_for("document.querySelector('.bad .phrase')?.textContent")
        # Nothing is wider than a narrow window.
        page.picture(tmp_path / "narrow.png", 320, 900)
        assert page.value("document.documentElement.scrollWidth") <= 320
        # The keyboard reaches the choice of files.
        page.value("document.activeElement.blur()")
        page("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        assert page.value("document.activeElement.id") in ("file", "key")

"""The page in a browser: nothing is fetched, tables sort and filter by keyboard, everybody can read it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from numclip_lightning.errors import DataError
from numclip_lightning.images.heat import heat_picture
from numclip_lightning.report.html.page import page_of, write_page
from numclip_lightning.report.reading import read_run
from numclip_lightning.report.reported import ReportedRun
from support.accessibility import faults_of
from support.browser import CHROMIUM, Page, browser
from support.predicted import predictions, reported

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")


def load(run: ReportedRun, paths: Sequence[str]) -> Mapping[str, NDArray[np.uint8]]:
    return {path: np.full((60, 90, 3), 90, np.uint8) for path in paths}


def full(size: int = 300) -> pd.DataFrame:
    """Predictions with every column that any program of ours writes."""
    frame = predictions(size)
    frame["spread"] = 5.0 + np.arange(size) % 3
    frame["lower"], frame["upper"] = frame["value"] - 10, frame["value"] + 10
    frame["phrases_in_set"] = frame["phrase"]
    frame["on_scale"] = np.random.default_rng(5).random(size)
    return frame


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    run = reported(full(), folder, "ours.csv")
    return write_page([run], folder / "report.html", load=load, command="numclip report")


@pytest.fixture(scope="module")
def page(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("browser")) as found:
        found("Page.addScriptToEvaluateOnNewDocument", source="""
            window.refused = [];
            addEventListener("securitypolicyviolation", (event) => window.refused.push(event.violatedDirective));
            addEventListener("error", (event) => window.refused.push(event.message));
        """)  # fmt: skip
        found("Page.navigate", url=file.as_uri())
        found.wait_for("document.readyState === 'complete' && document.querySelectorAll('svg').length > 3")
        yield found


def press(page: Page, key: str, code: int, text: str = "") -> None:
    for kind in ("keyDown", "keyUp"):
        page("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, text=text * (kind == "keyDown"))


def column(page: Page, table: str, number: int) -> list[str]:
    script = f"[...document.querySelectorAll('#{table} tbody tr')].map((row) => row.cells[{number}].textContent)"
    found: list[str] = page.value(script)
    return found


@needs_chromium
class TestInABrowser:
    def test_nothing_is_fetched_or_refused(self, page: Page) -> None:
        fetched = "performance.getEntriesByType('resource').filter((entry) => !entry.name.startsWith('data:'))"
        assert page.value(f"{fetched}.map((entry) => entry.name)") == []
        assert page.value("window.refused") == []

    def test_headings_sort_by_keyboard(self, page: Page) -> None:
        (table,) = page.value("[...document.querySelectorAll('#groups table')].map((t) => t.id).slice(0, 1)")
        before = column(page, table, 0)
        page.value(f"document.querySelectorAll('#{table} th button')[1].focus()")
        press(page, "Enter", 13, "\r")
        images = [int(cell.replace(",", "")) for cell in column(page, table, 1)]
        assert images == sorted(images)
        assert page.value(f"document.querySelectorAll('#{table} thead th')[1].getAttribute('aria-sort')") == "ascending"
        press(page, " ", 32, " ")
        assert [int(cell.replace(",", "")) for cell in column(page, table, 1)] == sorted(images, reverse=True)
        press(page, "Enter", 13, "\r")
        assert column(page, table, 0) == before

    def test_a_word_filters_rows_by_keyboard(self, page: Page) -> None:
        page.value("document.querySelector('#off-scale input[type=search]').focus()")
        page("Input.insertText", text="images/0000")
        shown = "[...document.querySelectorAll('#off-scale tbody tr')].filter((row) => row.checkVisibility())"
        names = page.value(f"{shown}.map((row) => row.cells[0].textContent)")
        assert all("images/0000" in name for name in names)
        total = page.value("document.querySelectorAll('#off-scale tbody tr').length")
        said = page.value("document.querySelector('#off-scale [role=status]').textContent")
        assert said == f"{len(names)} of {total} rows"
        for _ in "images/0000":
            press(page, "Backspace", 8)
        assert page.value(f"{shown}.length") == total

    @pytest.mark.parametrize("colours", ["light", "dark"])
    @pytest.mark.parametrize("width", [400, 1400])
    def test_everybody_can_read_it(self, page: Page, width: int, colours: str, tmp_path: Path) -> None:
        page("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": colours}])
        page.picture(tmp_path / "page.png", width, 900)
        assert faults_of(page) == []
        assert page.value("document.documentElement.scrollWidth") <= width

    def test_on_paper_everything_is_open_and_dark_on_white(self, page: Page) -> None:
        features = [{"name": "prefers-color-scheme", "value": "dark"}]
        page("Emulation.setEmulatedMedia", media="print", features=features)
        page.value("dispatchEvent(new Event('beforeprint'))")
        assert page.value("[...document.querySelectorAll('details')].every((part) => part.open)")
        assert page.value("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        assert page.value("document.querySelector('nav').checkVisibility()") is False
        page("Emulation.setEmulatedMedia", media="", features=[])


class _Text(HTMLParser):
    """Collects the text of each section, and every address."""

    def __init__(self) -> None:
        super().__init__()
        self.sections: dict[str, str] = {}
        self.addresses: list[str] = []
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag == "section":
            self._open = str(known["id"])
        self.addresses += [str(known[name]) for name in ("src", "href", "action") if known.get(name)]

    def handle_data(self, data: str) -> None:
        if self._open:
            self.sections[self._open] = self.sections.get(self._open, "") + data


def parsed(text: str) -> _Text:
    found = _Text()
    found.feed(text)
    return found


def sections(*runs: ReportedRun, **arguments: object) -> dict[str, str]:
    given: dict[str, object] = {"load": load, "command": "numclip report", **arguments}
    return parsed(page_of(runs, **given)).sections  # type: ignore[arg-type]


def test_a_page_of_everything_has_every_section_and_no_address(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    found = parsed(text)
    assert list(found.sections) == [
        "numbers", "agreement", "by-value", "by-level", "confusion", "reliability", "coverage", "surest", "groups",
        "images", "off-scale", "made", "left-out",
    ]  # fmt: skip
    assert all(address.startswith(("#", "data:")) for address in found.addresses)
    assert "url(http" not in text
    # The best, the worst, and the least likely to belong: twelve of each.
    assert text.count("<img ") == 36
    assert re.findall(r"n = 300 images", found.sections["numbers"])


def test_two_columns_are_enough_and_the_rest_says_why_it_is_left_out(tmp_path: Path) -> None:
    found = sections(reported(pd.DataFrame({"value": [1.5, 2, 9], "target": [1, 3, 8]}), tmp_path))
    assert set(found) == {"numbers", "agreement", "by-value", "images", "made", "left-out"}
    assert "off by 0.83" in re.sub(r"\s+", " ", found["numbers"])
    for reason in ("there are no levels in words", "name columns of the list in data.attributes", "lower and upper"):
        assert reason in re.sub(r"\s+", " ", found["left-out"])


def test_predictions_without_targets_have_what_can_be_said_of_them(tmp_path: Path) -> None:
    found = sections(reported(predictions()[["path", "value", "phrase"]], tmp_path))
    assert set(found) == {"agreement", "made", "left-out"}
    assert "Predicted numbers" in found["agreement"]


def test_runs_stand_beside_each_other_and_are_tested_on_the_same_images(tmp_path: Path) -> None:
    worse = predictions(seed=1, error=9.0)
    ours, theirs = reported(predictions(), tmp_path, "ours.csv"), reported(worse, tmp_path, "theirs.csv")
    found = sections(ours, theirs)
    assert "worse" in found["compared"]
    assert "400" in found["compared"]
    for key in ("numbers", "agreement", "by-level", "groups"):
        assert "ours.csv" in found[key]
        assert "theirs.csv" in found[key]


def test_a_run_that_lacks_what_another_has_says_so_in_its_place(tmp_path: Path) -> None:
    bare = reported(predictions()[["path", "value", "target"]], tmp_path, "bare.csv")
    found = sections(reported(predictions(), tmp_path, "ours.csv"), bare)
    assert "Nothing to show: there are no levels in words" in re.sub(r"\s+", " ", found["confusion"])


def test_private_images_are_named_and_not_shown(tmp_path: Path) -> None:
    text = page_of([reported(predictions(), tmp_path)], load=None, command="numclip report")
    assert "<img" not in text
    assert "images/00" in parsed(text).sections["images"]


def mapped(folder: Path, frame: pd.DataFrame, paths: Sequence[str]) -> ReportedRun:
    """A run folder with maps of some of its images."""
    (folder / "maps").mkdir()
    names = [f"{number:06d}-image" for number in range(len(paths))]
    for name in names:
        np.save(folder / "maps" / f"{name}.npy", np.array([[12.0, 47.0]]))
        heat_picture(np.full((64, 64, 3), 90, np.uint8), [[12.0, 47.0]]).save(folder / "maps" / f"{name}.png")
    pd.DataFrame({"path": paths, "map": names}).to_csv(folder / "maps" / "maps.csv", index=False)
    frame.to_csv(folder / "test_predictions.csv", index=False)
    return read_run(folder)


def test_maps_stand_beside_their_images_and_broken_ones_are_named(tmp_path: Path) -> None:
    frame = predictions(80)
    worst = [str(path) for path in frame["path"][frame["error"].abs().nlargest(3).index]]
    run = mapped(tmp_path, frame, worst)
    (tmp_path / "maps" / "000002-image.png").write_bytes(b"no picture")
    text = page_of([run], load=load, command="numclip report")
    assert text.count(f'alt="Map of {worst[0]}: places read 12 to 47"') == 1
    assert text.count('alt="Map of ') == 2
    assert "000002-image can't be read" in re.sub(r"&#39;", "'", text)
    assert "evidence" in parsed(text).sections["images"]
    assert "Map of" not in page_of([run], load=None, command="numclip report")
    (tmp_path / "maps" / "maps.csv").write_text("image\n1\n")
    with pytest.raises(DataError, match="can't be read as a list of maps"):
        read_run(tmp_path)


def test_images_that_are_not_found_are_counted(tmp_path: Path) -> None:
    found = sections(reported(predictions(), tmp_path), load=lambda *_: {})
    assert "24 of 24 images were not found" in found["images"]


def test_names_from_files_are_text_and_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    frame = predictions(80)
    frame["path"] = [f"{evil}{number}$x$.png" for number in range(80)]
    frame["attribute_sex"] = evil
    renamed = {"true_phrase": frame["true_phrase"].replace("child", evil), "p(child)": None}
    frame = frame.assign(**renamed).rename(columns={"p(child)": f"p({evil})"})
    frame[f"p({evil})"] = 1 - frame["p(young adult)"] - frame["p(older adult)"]
    text = page_of([reported(frame, tmp_path)], load=load, command=f"numclip report {evil}", title=evil)
    assert evil not in text
    assert text.count("<script>") == 1


@pytest.mark.slow
def test_fifty_thousand_images_make_a_small_page(tmp_path: Path) -> None:
    frame = full(50_000).drop(columns=["group", "attribute_site"])
    text = page_of([mapped(tmp_path, frame, list(frame["path"][:500]))], load=load, command="x")
    assert len(text.encode()) < 1_500_000

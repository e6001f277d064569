"""A report inside a page of documentation."""

import shutil
from pathlib import Path

import pytest

from numclip_lightning.errors import DataError
from numclip_lightning.report.marks import check_page, update_page

MARKED = "# Ours\n\nWords.\n\n<!-- report -->\nold ![a](evidence/old.png)\n<!-- end of report -->\n\nMore words.\n"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    (folder / "plots").mkdir(parents=True)
    (folder / "plots" / "new.png").write_bytes(b"new")
    (folder / "report.md").write_text("# Title\n\n## What ran\n\n![a](plots/new.png)\n", encoding="utf-8")
    return folder / "report.md"


def test_the_report_and_its_pictures_replace_the_old_ones_and_words_stay(report: Path, tmp_path: Path) -> None:
    page = tmp_path / "evidence.md"
    page.write_text(MARKED, encoding="utf-8")
    (tmp_path / "evidence").mkdir()
    for name in ("old.png", "of_people.png", "words.md"):
        (tmp_path / "evidence" / name).touch()
    for _ in range(2):
        update_page(page, report)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Ours\n\nWords.\n\n<!-- report -->\n\n## What ran\n")
    assert text.endswith("<!-- end of report -->\n\nMore words.\n")
    assert "Title" not in text
    assert "old" not in text
    assert text.count("![a](evidence/new.png)") == 1
    kept = {file.name for file in (tmp_path / "evidence").iterdir()}
    assert kept == {"new.png", "of_people.png", "words.md"}, "a folder of the page's name may hold more"


def test_a_report_without_pictures_needs_no_folder(report: Path, tmp_path: Path) -> None:
    page = tmp_path / "evidence.md"
    page.write_text(MARKED, encoding="utf-8")
    shutil.rmtree(report.parent / "plots")
    update_page(page, report)
    assert "## What ran" in page.read_text(encoding="utf-8")
    assert not (tmp_path / "evidence").exists()


@pytest.mark.parametrize(
    "text",
    [
        "# no marks\n",
        "<!-- report -->\n",
        "<!-- end of report -->\n<!-- report -->\n",
        f"{MARKED}<!-- report -->\n",
        f"{MARKED}<!-- end of report -->\n",
    ],
)
def test_a_page_without_the_marks_is_refused_and_left_alone(text: str, report: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"page\.md needs the lines <!-- report --> and <!-- end of report -->"):
        update_page(page, report)
    assert page.read_text(encoding="utf-8") == text


def test_a_missing_page_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.md can't be read: No such file"):
        check_page(tmp_path / "nowhere.md")

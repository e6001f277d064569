"""The tables of methods and datasets are those of the repository; a new method or dataset gets its row by itself."""

import shutil
from pathlib import Path

import pytest

import write_tables
from support.places import REPOSITORY

PAGE = """# New

<!-- facts -->
| | |
| --- | --- |
| kind | guided by language |
| loss | CE |
| number | argmax |
<!-- end of facts -->
"""
OVERLAY = """# Overlay: Newest: a method that was added a minute ago.
model:
  class_path: CoOp
  init_args: {names: phrases, learning_rates: {image_encoder: 0, logit_scale: 1.0e-4}}
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the pages and configurations."""
    shutil.copy(REPOSITORY / "README.md", tmp_path)
    for folder in ("configs", "docs/methods"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    return tmp_path


def leave_only(root: Path, *overlays: str) -> None:
    """Remove the other overlays, which would have to be built."""
    for file in root.glob("configs/methods/*.yaml"):
        if file.stem not in overlays:
            file.unlink()


def test_the_committed_tables_are_up_to_date() -> None:
    assert write_tables.write_tables(REPOSITORY, check=True) == [], "run `make tables`"


def test_a_new_method_gets_its_rows(copy: Path) -> None:
    leave_only(copy)
    (copy / "configs/methods/new.yaml").write_text(OVERLAY, encoding="utf-8")
    (copy / "docs/methods/new.md").write_text(PAGE, encoding="utf-8")
    assert write_tables.main([f"--root={copy}"]) == 0
    readme, index, page = (
        (copy / name).read_text(encoding="utf-8")
        for name in ("README.md", "docs/methods/README.md", "docs/methods/new.md")
    )
    assert (
        "| `configs/methods/new.yaml` | [Newest](docs/methods/new.md): a method that was added a minute ago "
        "| context, words, temperature |"
    ) in readme
    assert "| [Newest](new.md) | `new` | context, words, temperature | CE | argmax |" in index
    assert "| class | `CoOp` |\n| trains | context, words, temperature |" in page
    assert write_tables.main([f"--root={copy}", "--check"]) == 0


def test_a_new_dataset_gets_its_row(copy: Path) -> None:
    leave_only(copy)
    new = (copy / "configs/retina.yaml").read_text(encoding="utf-8").partition("\n")[2]
    (copy / "configs/new.yaml").write_text(f"# Lungs: grades 1 to 9.\n{new}", encoding="utf-8")
    assert write_tables.main([f"--root={copy}"]) == 0
    readme = (copy / "README.md").read_text(encoding="utf-8")
    assert "| `configs/new.yaml` | Lungs: grades 1 to 9 | `RetinaDataModule` | `ViT-B-16-quickgelu` |" in readme


def test_a_check_reports_a_stale_page_and_leaves_it(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave_only(copy, "l1")
    write_tables.main([f"--root={copy}"])
    page = copy / "docs" / "methods" / "l1.md"
    stale = page.read_text(encoding="utf-8").replace("| trains | image tower, head |", "| trains | head |")
    page.write_text(stale, encoding="utf-8")
    capsys.readouterr()
    assert write_tables.main([f"--root={copy}", "--check"]) == 1
    assert capsys.readouterr().out == f"{page} is out of date; run `make tables`.\n"
    assert page.read_text(encoding="utf-8") == stale


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("configs/methods/l1.yaml", "# Overlay: L1 regression: ", "# ", "must be `# Overlay: NAME: WHAT IT IS.`"),
        (
            "configs/methods/l1.yaml",
            "# Overlay",
            "trainer: {}\n# Overlay",
            "must be a comment that says what the file is",
        ),
        ("docs/methods/l1.md", "| loss | MAE |\n", "", "the table of facts has no row loss"),
        ("docs/methods/l1.md", "without language", "with pictures", "the kind 'with pictures' is none of guided by"),
        ("docs/methods/l1.md", "<!-- facts -->\n", "", "it must have the lines `<!-- facts -->`"),
    ],
)
def test_what_a_table_lacks_is_reported(
    file: str, old: str, new: str, message: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave_only(copy, "l1")
    text = (copy / file).read_text(encoding="utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        write_tables.main([f"--root={copy}", "--check"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert str(copy / file) in error
    assert message in error


def test_an_overlay_without_a_page_is_reported(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave_only(copy, "l1")
    (copy / "docs/methods/l1.md").unlink()
    with pytest.raises(SystemExit):
        write_tables.main([f"--root={copy}"])
    assert f"its page {copy / 'docs/methods/l1.md'} is missing" in capsys.readouterr().err

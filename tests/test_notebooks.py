"""Every notebook runs from beginning to end, and its kept outputs are those of its cells. The longest ones are slow."""

import tempfile
from pathlib import Path

import nbformat
import pytest

import tutorials
from support.places import REPOSITORY

FOLDER = REPOSITORY / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

# They train eight models, write a model in every format, or call every verb, where the others train one model.
LONG = ("02_your_own_data", "03_what_prototypes_learn", "04_take_it_away", "05_trust_the_number")


def read(path: Path) -> nbformat.NotebookNode:
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    return notebook


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS, "a test over no notebook at all would pass too"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path: Path) -> None:
    for cell in read(path).cells:
        if cell.cell_type == "code":
            assert not cell.outputs, f"{path.name}: clear the outputs of {cell.source[:60]!r}"
            assert cell.execution_count is None, f"{path.name}: clear the execution counts"


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.slow if path.stem in LONG else ()) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_it_runs_and_leaves_nothing_behind(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    working, temporary = tmp_path / "working", tmp_path / "temporary"
    working.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    before = sorted(FOLDER.rglob("*"))

    # An error in a cell raises here.
    found = dict(tutorials.outputs(tutorials.run(path, working)))

    assert any(isinstance(part, bytes) for parts in found.values() for part in parts), "a notebook shows a plot"
    # The site shows a picture where a cell draws one, and text where it prints.
    kinds = {name: ["text" if isinstance(part, str) else "picture" for part in parts] for name, parts in found.items()}
    kept = {name: [*map(kind_of, cell["outputs"])] for name, cell in tutorials.kept(path).items()}
    assert kinds == kept, f"run scripts/tutorials.py {path.name}"
    assert list(working.iterdir()) == []
    assert list(temporary.iterdir()) == []
    assert sorted(FOLDER.rglob("*")) == before


def kind_of(output: dict[str, str]) -> str:
    (kind,) = output
    return kind


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_kept_outputs_are_of_its_cells(path: Path) -> None:
    cells = {cell["id"]: cell for cell in read(path).cells if cell.cell_type == "code"}
    kept = tutorials.kept(path)
    changed = {name for name in cells.keys() | kept.keys()
               if name not in cells or kept.get(name, {}).get("source") != tutorials.digest(cells[name])}  # fmt: skip
    assert changed == set(), f"run scripts/tutorials.py notebooks/{path.name}: its cells have changed"
    shown = [(name, output) for name, cell in kept.items() for output in cell["outputs"] if "picture" in output]
    folder = FOLDER / "outputs"
    assert {file.name for file in folder.glob(f"{path.stem}-*.png")} == {output["picture"] for _, output in shown}
    assert [name for name, _ in shown if not cells[name]["metadata"].get("alt")] == [], "say in words what it shows"
    size = sum(file.stat().st_size for file in folder.glob(f"{path.stem}*"))
    assert size < 300_000, "a tutorial stays small"


def test_pieces_of_text_are_joined_and_cleaned() -> None:
    printed = [
        {"output_type": "stream", "text": "\x1b[31mone\x1b[0m\n"},
        {"output_type": "stream", "text": "  5 %\r100 %\n"},
        {"output_type": "display_data", "data": {"image/png": "iVBO"}},
        {"output_type": "execute_result", "data": {"text/plain": f"{tempfile.gettempdir()}/tmpa1_b/runs"}},
    ]
    code = {"cell_type": "code", "id": "a", "source": "", "outputs": printed}
    found = dict(tutorials.outputs([{"cell_type": "markdown", "source": "x"}, code]))
    assert found == {"a": ["one\n100 %", b"\x89PN", "/tmp/images/runs"]}

"""Every notebook runs from beginning to end, and is committed without outputs. The longest ones are slow."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import numclip_lightning
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
    monkeypatch.setenv("PYTHONPATH", str(Path(numclip_lightning.__file__).parents[1]))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = read(path)
    before = sorted(FOLDER.rglob("*"))

    # The kernel `python3` is the interpreter that runs this test. An error in a cell raises here.
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(working)}}
    ).execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs), "a notebook shows a plot"
    assert list(working.iterdir()) == []
    assert list(temporary.iterdir()) == []
    assert sorted(FOLDER.rglob("*")) == before

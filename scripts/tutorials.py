"""Run the notebooks and keep what they print and draw, for the tutorials of the site.

    python scripts/tutorials.py [NOTEBOOK ...]

The notebooks themselves have no outputs, so that their changes can be read. What a cell printed lies in
notebooks/outputs/NOTEBOOK.json, with a digest of the cell that it came from; a picture lies beside it, in few colours.
`make docs` puts both under the cells. A test says which notebook has changed since.
"""

import base64
import hashlib
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
NOTEBOOKS = REPOSITORY / "notebooks"
_COLOURS = 128

# One output of a cell: {"text": what it printed} or {"picture": the name of a file beside the JSON}.
Output = dict[str, str]


def digest(cell: dict[str, Any]) -> str:
    """Return a short digest of a cell's source.

    Args:
        cell: A cell of a notebook.
    """
    return hashlib.sha256("".join(cell["source"]).encode()).hexdigest()[:16]


def kept(notebook: Path) -> dict[str, dict[str, Any]]:
    """Return the kept outputs of a notebook: for each cell's id the digest of its source, and its outputs.

    Args:
        notebook: The notebook; one that was never run here has none.
    """
    file = notebook.parent / "outputs" / f"{notebook.stem}.json"
    found: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return found


def run(notebook: Path, folder: Path) -> list[dict[str, Any]]:
    """Run a notebook in a folder and return its cells with what they printed and drew.

    Args:
        notebook: The notebook.
        folder: Its working folder.

    Raises:
        CellExecutionError: If a cell raises.
    """
    # Needed here alone: the site is built without them.
    import nbformat
    from nbclient import NotebookClient

    read = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
    # The warning is of a package for progress bars that nothing here needs.
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "PYTHONWARNINGS": "ignore:IProgress not found"}
    # The kernel `python3` is the interpreter that runs this.
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(read, timeout=600, kernel_name="python3", resources=resources).execute(env=environment)
    cells: list[dict[str, Any]] = read.cells
    return cells


def outputs(cells: list[dict[str, Any]]) -> Iterator[tuple[str, list[str | bytes]]]:
    """Yield the id of each cell of code, and what it printed (text, joined) and drew (PNG), in their order.

    Args:
        cells: The cells of a notebook that was run.
    """
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        found: list[str | bytes] = []
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                found.append(base64.b64decode(data["image/png"]))
            elif text := _plain("".join(output.get("text", data.get("text/plain", [])))):
                # Lines printed one by one come in several pieces.
                if found and isinstance(found[-1], str):
                    found[-1] += "\n" + text
                else:
                    found.append(text)
        yield cell["id"], found


def _plain(text: str) -> str:
    """Return printed text without colours, states of a line that were written over, and names of temporary folders."""
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    text = re.sub(re.escape(tempfile.gettempdir()) + r"/tmp\w+", "/tmp/images", text)
    return "\n".join(line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")).strip("\n")


def keep(notebook: Path, cells: list[dict[str, Any]]) -> Path:
    """Write the outputs of a notebook that was run in place of those of before, and return their file.

    Args:
        notebook: The notebook.
        cells: Its cells with outputs.
    """
    folder = notebook.parent / "outputs"
    folder.mkdir(exist_ok=True)
    for old in folder.glob(f"{notebook.stem}-*.png"):
        old.unlink()
    sources = {cell["id"]: cell for cell in cells}
    found = {}
    for name, parts in outputs(cells):
        listed: list[Output] = []
        for number, part in enumerate(parts):
            if isinstance(part, str):
                listed.append({"text": part})
            else:
                picture = f"{notebook.stem}-{name}-{number}.png"
                (folder / picture).write_bytes(_small(part))
                listed.append({"picture": picture})
        found[name] = {"source": digest(sources[name]), "outputs": listed}
    file = folder / f"{notebook.stem}.json"
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return file


def _small(png: bytes) -> bytes:
    """Return a picture in few colours."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        white.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main() -> None:
    """Run the notebooks that are named, or all, one after the other."""
    for notebook in [Path(name) for name in sys.argv[1:]] or sorted(NOTEBOOKS.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            print(f"{keep(notebook, run(notebook, Path(folder)))} is written.", flush=True)


if __name__ == "__main__":
    main()

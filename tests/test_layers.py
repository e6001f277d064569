"""The house keeps its shape: imports run one way, outside libraries have their one place, files stay readable."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "numclip_lightning"
FILES = sorted(SRC.rglob("*.py"))

# What each room may import, besides itself.
NUMBERS = {"errors", "precision", "scale"}
ALLOWED = {
    "": set(),
    "errors": set(),
    "precision": set(),
    "scale": {"errors"},
    "losses": NUMBERS,
    "metrics": NUMBERS,
    "models": NUMBERS,
    "methods": NUMBERS | {"losses", "metrics", "models"},
    "data": {"errors"},
    "cli": NUMBERS | {"losses", "metrics", "models", "methods", "data"},
}
# The command line is several files; pictures stand beside it, at the end of the way.
CLI = {
    "benchmark",
    "callbacks",
    "checkpoints",
    "cli",
    "export",
    "features",
    "plots",
    "runs",
    "terminal",
    "trainer",
    "__main__",
}


def imports(file: Path) -> set[str]:
    """Return the dotted names of all modules that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            found.add(str(node.module))
    return found


def room(module: str) -> str:
    name = [*module.split("."), ""][1]
    return "cli" if name in CLI else name.removesuffix("__init__")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SRC)))
class TestEveryFile:
    def test_imports_run_one_way(self, file: Path) -> None:
        own = room(".".join(["numclip_lightning", *file.relative_to(SRC).with_suffix("").parts]))
        assert own in ALLOWED, f"{file.name} belongs to no room"
        used = {room(name) for name in imports(file) if name.split(".")[0] == "numclip_lightning"}
        assert used <= ALLOWED[own] | {own}

    def test_is_short_enough_to_read(self, file: Path) -> None:
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("open_clip", {"models/clip.py", "models/loading.py", "models/text_tower.py"}),
        ("albumentations", {"data/transforms.py"}),
        # Comes with the extra `benchmark`, so that no training needs it.
        ("pandas", {f"benchmark/{name}.py" for name in ("costs", "figures", "predictions", "results", "tables")}),
    ],
)
def test_a_library_has_its_place(library: str, homes: set[str]) -> None:
    users = {file.relative_to(SRC).as_posix() for file in FILES if library in {i.split(".")[0] for i in imports(file)}}
    assert users == homes


def test_models_are_plain_torch_and_data_stand_alone() -> None:
    for file in (SRC / "models").glob("*.py"):
        assert not {name for name in imports(file) if name.split(".")[0] in ("lightning", "jsonargparse")}, file

"""The package keeps its shape: imports run one way, each outside library has its place, files stay short."""

import ast
from functools import cache
from pathlib import Path

import pytest

from support.places import REPOSITORY

SRC = REPOSITORY / "src" / "numclip_lightning"
FILES = sorted(SRC.rglob("*.py"))

# What each room may import, besides itself: a room is a folder of the package, or a file at its root.
GROUND = {"errors", "plain", "precision", "progress", "scale", "seeds", "shards"}
ALLOWED: dict[str, set[str]] = {
    "__init__": {*GROUND, "deploy"},
    "__main__": {"cli"},
    "errors": set(),
    "plain": set(),
    "precision": set(),
    "progress": set(),
    "scale": {"errors"},
    "seeds": set(),
    "shards": {"errors"},
    "calibration": {"errors", "plain", "scale"},
    "losses": GROUND,
    "metrics": GROUND,
    "models": GROUND,
    "images": {"errors", "progress"},
    "methods": {*GROUND, "losses", "metrics", "models"},
    "data": {"errors", "plain", "progress", "seeds", "images"},
    "runs": {*GROUND, "calibration", "metrics", "models", "images", "methods", "data"},
    "deploy": {*GROUND, "calibration", "models", "images", "methods"},
    "report": {*GROUND, "calibration", "metrics", "images"},
    "commands": {*GROUND, "calibration", "metrics", "models", "images", "data", "runs", "deploy", "report"},
    # By name, when a verb is called.
    "cli": {*GROUND, "commands", "runs"},
}


@cache
def imports(file: Path) -> set[str]:
    """Return the dotted names of all modules that a file imports, anywhere in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            found.add(str(node.module))
    return found


def room(module: str) -> str:
    """Return the room of a module of the package; the package itself is the file `__init__`."""
    return [*module.split("."), "__init__"][1]


def own_room(file: Path) -> str:
    return file.relative_to(SRC).with_suffix("").parts[0]


def test_the_rooms_have_no_circle_and_no_arrow_upwards() -> None:
    floors = list(ALLOWED)
    for name, below in ALLOWED.items():
        if name not in ("__init__", "__main__"):
            assert {floors.index(other) for other in below} <= set(range(floors.index(name))), name


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SRC)))
class TestEveryFile:
    def test_imports_run_one_way(self, file: Path) -> None:
        own = own_room(file)
        assert own in ALLOWED, f"{file.name} is in no room"
        used = {room(name) for name in imports(file) if name.split(".")[0] == "numclip_lightning"}
        assert used <= ALLOWED[own] | {own, "__init__"}

    def test_is_short_enough_to_read(self, file: Path) -> None:
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        (
            "open_clip",
            {
                f"models/{name}.py"
                for name in (
                    "activations",
                    "clip",
                    "converting",
                    "image_tower",
                    "loading",
                    "normalization",
                    "text_tower",
                    "tokenizers",
                    "usual_weights",
                    "weights",
                )
            },
        ),
        ("albumentations", {"images/corruptions.py"}),
        # Lightning's loggers import them, where they are asked for.
        ("wandb", set()),
        ("tensorboard", set()),
    ],
)
def test_a_library_is_imported_in_its_place_alone(library: str, homes: set[str]) -> None:
    users = {file.relative_to(SRC).as_posix() for file in FILES if library in {i.split(".")[0] for i in imports(file)}}
    assert users == homes


@pytest.mark.parametrize(
    ("name", "libraries"),
    [
        ("models", {"lightning", "jsonargparse"}),
        ("images", {"lightning", "jsonargparse"}),
        ("report", {"lightning", "jsonargparse"}),
        ("deploy", {"lightning", "jsonargparse"}),
        ("data", {"pandas"}),
        ("methods", {"pandas", "jsonargparse"}),
    ],
)
def test_a_room_does_not_import_a_library(name: str, libraries: set[str]) -> None:
    for file in (SRC / name).rglob("*.py"):
        assert not {i for i in imports(file) if i.split(".")[0] in libraries}, file

"""A benchmark of a few seconds, and what its runs leave."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

SMALL = {"data.num_train": 16, "data.num_val": 8, "data.num_test": 8, "data.num_workers": 0, "trainer.max_epochs": 1}
ZERO_SHOT = {"config": "configs/methods/zero_shot.yaml", "trains": False}


Write = Callable[..., Path]


def write_config(folder: Path, methods: dict[str, Any], **changes: Any) -> Path:
    """Write a benchmark's configuration; its runs go into the folder."""
    config = {
        "title": "Try",
        "datasets": {"counting": {"config": "configs/counting.yaml", "args": SMALL}},
        "methods": methods,
        "seeds": [0],
        "metrics": ["test_mae"],
        "root": str(folder / "runs"),
    }
    file = folder / "try.yaml"
    file.write_text(yaml.safe_dump({**config, **changes}), encoding="utf-8")
    return file


def records(root: Path) -> dict[str, dict[str, Any]]:
    """Return the records of all runs, by method and seed."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in root.glob("runs/counting/*/*/result.json")]
    return {f"{record['method']} {record['seed']}": record for record in found}


def times(root: Path) -> dict[Path, int]:
    """Return when each record was written."""
    return {file: file.stat().st_mtime_ns for file in root.glob("runs/counting/*/*/result.json")}

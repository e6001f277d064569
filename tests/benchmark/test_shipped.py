"""The benchmarks under configs/benchmarks: the small one runs, and none forgets a method."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from numclip_lightning.cli import main

REPOSITORY = Path(__file__).parent.parent.parent
OVERLAYS = {file.relative_to(REPOSITORY).as_posix() for file in (REPOSITORY / "configs" / "methods").glob("*.yaml")}


def load(name: str) -> Any:
    return yaml.safe_load((REPOSITORY / "configs" / "benchmarks" / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["smoke", "collection"])
def test_every_method_is_in(name: str) -> None:
    methods = load(name)["methods"].values()
    assert {entry["config"] for entry in methods if "config" in entry} == OVERLAYS
    # The configurations' own method is NumCLIP.
    assert [entry for entry in methods if "config" not in entry]


def test_what_two_benchmarks_share_is_the_same_run() -> None:
    evidence, collection = load("evidence"), load("collection")
    for part in ("args", "datasets"):
        assert evidence[part] == collection[part]
    # CoOp's rate was searched for the collection, after the evidence was there.
    shared = (evidence["methods"].keys() & collection["methods"].keys()) - {"CoOp"}
    assert {"CoOp, image tower tuned", "OrdinalCLIP", "NumCLIP"} <= shared
    assert {name: evidence["methods"][name] for name in shared} == {
        name: collection["methods"][name] for name in shared
    }


def test_smoke_runs_every_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert main(["benchmark", "--config=configs/benchmarks/smoke.yaml", f"--root={tmp_path}"]) == 0
    records = [json.loads(file.read_text(encoding="utf-8")) for file in tmp_path.glob("counting/*/*/result.json")]
    assert {record["method"] for record in records} == set(load("smoke")["methods"])
    assert all(math.isfinite(record["metrics"]["test_mae"]) for record in records)
    report = (tmp_path / "reports" / "smoke" / "report.md").read_text(encoding="utf-8")
    assert all(record["method"] in report for record in records)

"""Configurations that come with the package are found from any folder; the files that are there come first."""

from pathlib import Path

import pytest

from numclip_lightning.cli import main
from numclip_lightning.runs.benchmark import Benchmark
from numclip_lightning.runs.config_files import with_readable_configs
from numclip_lightning.runs.entries import CrossEntry, DatasetEntry, MethodEntry
from numclip_lightning.runs.plan import plan
from numclip_lightning.runs.shipped import config_path, shipped_configs
from numclip_lightning.runs.sweep.space import read_space
from support.places import REPOSITORY

COOP, COUNTING = "configs/methods/coop.yaml", "configs/counting.yaml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_words_of_a_run_name_what_came_with_the_package() -> None:
    counting, coop = (str(REPOSITORY / name) for name in (COUNTING, COOP))
    words = ["--config", COUNTING, f"--config={COOP}", "-c", COOP, "--model.tolerance=2"]
    assert with_readable_configs(words) == ["--config", counting, f"--config={coop}", "-c", coop, *words[5:]]


def test_a_file_of_the_working_directory_comes_first(elsewhere: Path) -> None:
    (elsewhere / COOP).parent.mkdir(parents=True)
    (elsewhere / COOP).write_text("trainer: {max_epochs: 1}\n", encoding="utf-8")
    assert with_readable_configs(["--config", COOP]) == ["--config", COOP]


@pytest.mark.parametrize(
    "name", ["configs/methods/none.yaml", "methods/coop.yaml", "other/configs/methods/coop.yaml", "coop.yaml"]
)
def test_other_names_are_missing(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert config_path(name) == name
    assert main(["fit", "--config", name]) == 2
    assert f"--config {name}: no such file in {Path.cwd()}" in capsys.readouterr().err


def test_a_benchmark_is_planned_from_anywhere() -> None:
    tests = {"Others": CrossEntry(config=COUNTING)}
    found = Benchmark(
        title="T",
        datasets={"Scenes": DatasetEntry(config=COUNTING, tests=tests)},
        methods={"CoOp": MethodEntry(config=COOP, trains=True)},
        overlays="configs/tuning/*.yaml",
        seeds=[0],
    )
    tuning = sorted((REPOSITORY / "configs" / "tuning").glob("*.yaml"))
    assert [entry.config for entry in found.methods.values()] == [COOP, *map(str, tuning)]
    (run,) = plan(Benchmark(title="T", datasets=found.datasets, methods={"CoOp": found.methods["CoOp"]}, seeds=[0]))
    assert {word for word in run.words if word.startswith("--config=")} == {
        f"--config={REPOSITORY / name}" for name in (COUNTING, COOP)
    }
    assert run.tests[0].data_config == str(REPOSITORY / COUNTING)


def test_an_overlay_that_an_entry_has_is_not_included_again() -> None:
    entries = {"Mine": MethodEntry(config="configs/tuning/last_n.yaml", trains=True)}
    found = Benchmark(
        title="T", datasets={"S": DatasetEntry(config=COUNTING)}, methods=entries, overlays="configs/tuning/*.yaml"
    )
    assert len(found.methods) == len(list(shipped_configs().glob("tuning/*.yaml")))


def test_the_space_of_a_sweep_is_found_too() -> None:
    name = "configs/sweeps/counting.yaml"
    assert read_space(Path(name)).keys == read_space(REPOSITORY / name).keys

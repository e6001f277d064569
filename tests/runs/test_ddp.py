"""Two processes give the numbers of one: every sample counts once, whatever the sampler repeats."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.command import SIZES, Numclip, config_of, make_data, metrics_of, rows_of
from support.places import REPOSITORY
from support.tiny_clip import TINY_CLIPS

TWO = ("--trainer.devices=2", "--trainer.strategy=ddp")
# Methods that gather features from all processes.
SOLVED = ("GDA", "TipAdapter", "TipAdapterF", "LinearProbe")


def run_processes(words: Sequence[str], folder: Path) -> str:
    # Gloo listens where nobody else can reach it.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    result = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, lists and a tiny CLIP that every process can find."""
    folder = tmp_path_factory.mktemp("ddp")
    make_data(folder / "data")
    (folder / "clip").mkdir()
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    config = {"model_cfg": TINY_CLIPS["tiny-vit"], "preprocess_cfg": preprocess}
    (folder / "clip" / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def numclip_in(folder: Path, runs: str) -> Numclip:
    return Numclip(folder / "data", folder / runs)


def only(runs: Path) -> Path:
    (run,) = runs.iterdir()
    return run


@pytest.fixture(scope="module")
def fitted_by_two(folder: Path) -> Path:
    """The run of a fit in two processes, started as a user starts it, tested at its end."""
    numclip = numclip_in(folder, "fit")
    words = ["fit", *numclip.flags, f"--model.backbone=local-dir:{folder / 'clip'}", *TWO, "--test_after_fit=true"]
    output = run_processes(["-m", "numclip_lightning", *words], folder)
    assert "find_unused_parameters" not in output
    assert output.count("This run is kept in") == 1
    return only(numclip.runs)


@pytest.fixture(scope="module")
def by_two(folder: Path, fitted_by_two: Path) -> dict[str, Path]:
    """The runs of several commands in two processes under torchrun, by name."""
    few = make_data(folder / "few", test=3)
    one = make_data(folder / "one", test=1)
    base = ["--config", str(fitted_by_two / "config.yaml"), "--ckpt_path", metrics_of(fitted_by_two)["best_checkpoint"]]
    commands = {
        "all": ["test", *base],
        "few": ["test", *base, f"--data.root={few}", "--data.batch_size=1"],
        "one": ["test", *base, f"--data.root={one}"],
        "predict": ["predict", *base, "--data.predict_path=test.txt"],
        "predict_one": ["predict", *base, f"--data.predict_path={one / 'test_000.png'}"],
    }
    file = folder / "commands.json"
    file.write_text(
        json.dumps(
            [[*words, f"--trainer.default_root_dir={folder / 'runs' / name}"] for name, words in commands.items()]
        )
    )
    worker = str(REPOSITORY / "tests" / "support" / "ddp_worker.py")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", worker, str(file)]
    output = run_processes(torchrun, folder)
    codes = [json.loads(part.read_text(encoding="utf-8")) for part in folder.glob("commands.codes*")]
    assert codes == [[0, 0, 0, 0, 2]] * 2
    assert "2 processes can't share 1 images; predict them with --trainer.devices=1" in output
    assert not list((folder / "runs" / "predict_one").glob("*/predictions.csv"))
    return {name: only(folder / "runs" / name) for name in commands if name != "predict_one"}


def by_one(folder: Path, fitted: Path, subcommand: str, *words: str) -> Path:
    numclip = numclip_in(folder, f"single-{subcommand}")
    base = ["--config", str(fitted / "config.yaml"), "--ckpt_path", metrics_of(fitted)["best_checkpoint"]]
    # Not the strategy of the fit, which would leave a process group behind for the tests that follow.
    single = ["--trainer.devices=1", "--trainer.strategy=auto"]
    return numclip.plain(subcommand, *base, *numclip.small, *single, *words)


def same(found: dict[str, float], expected: dict[str, float]) -> bool:
    return found == pytest.approx(expected, abs=1e-6)


def test_a_fit_counts_every_sample_once(folder: Path, fitted_by_two: Path) -> None:
    assert config_of(fitted_by_two)["model"]["init_args"]["learning_rates"]["text_encoder"] == 0, "a frozen part"
    kept = metrics_of(fitted_by_two)
    for subcommand, prefix in (("validate", "val_"), ("test", "test_")):
        expected = metrics_of(by_one(folder, fitted_by_two, subcommand))
        # Parts of the loss contrast the images of one batch, of which two processes make others.
        expected = {key: value for key, value in expected.items() if key.startswith(prefix) and "loss" not in key}
        assert len(expected) == 6
        assert same({key: kept[key] for key in expected}, expected)


@pytest.mark.parametrize(
    ("name", "words"),
    [("all", []), ("few", ["--data.root={few}", "--data.batch_size=1"]), ("one", ["--data.root={one}"])],
)
def test_a_test_counts_every_sample_once(
    folder: Path, fitted_by_two: Path, by_two: dict[str, Path], name: str, words: list[str]
) -> None:
    words = [word.format(few=folder / "few", one=folder / "one") for word in words]
    assert same(metrics_of(by_two[name]), metrics_of(by_one(folder, fitted_by_two, "test", *words)))


def test_a_prediction_writes_every_row_once(folder: Path, fitted_by_two: Path, by_two: dict[str, Path]) -> None:
    rows = rows_of(by_two["predict"] / "predictions.csv")
    single = by_one(folder, fitted_by_two, "predict", "--data.predict_path=test.txt")
    expected = rows_of(single / "predictions.csv")
    assert [row["path"] for row in rows] == [f"test_{i:03d}.png" for i in range(SIZES["test"])]
    values, expected_values = ([float(row["value"]) for row in table] for table in (rows, expected))
    assert values == pytest.approx(expected_values, abs=1e-4)
    assert [row["phrase"] for row in rows] == [row["phrase"] for row in expected]


def test_methods_with_parts_at_rest_fit_in_two_processes(folder: Path) -> None:
    file, runs = folder / "fits.json", folder / "fits"
    numclip = numclip_in(folder, "fits")
    own = {
        "L2RCLIP": ["--model.num_context=4", "--model.names=phrases"],
        "RankingAwareCLIP": ["--model.width=16"],
        "CLIPEBC": [],
    }
    commands = [
        ["fit", *numclip.flags, f"--model={name}", *words, f"--model.backbone=local-dir:{folder / 'clip'}", *TWO]
        for name, words in own.items()
    ]
    file.write_text(json.dumps(commands), encoding="utf-8")
    worker = str(REPOSITORY / "tests" / "support" / "ddp_worker.py")
    output = run_processes(
        ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", worker, str(file)], folder
    )
    # Without find_unused_parameters: a part that rests without a gradient would stop the second step.
    assert "find_unused_parameters" not in output
    assert [json.loads(part.read_text(encoding="utf-8")) for part in folder.glob("fits.codes*")] == [[0, 0, 0]] * 2
    assert len(list(runs.iterdir())) == 3


@pytest.fixture(scope="module")
def solved_by_two(folder: Path) -> dict[str, Path]:
    """The runs of fits in two processes from features that each encodes its share of, by method."""
    numclip = numclip_in(folder, "solved")
    commands = {name: solve(folder, name) for name in SOLVED}
    file = folder / "solve.json"
    file.write_text(
        json.dumps([
            [*words, *TWO, f"--trainer.default_root_dir={numclip.runs / name}"] for name, words in commands.items()
        ])
    )  # fmt: skip
    worker = str(REPOSITORY / "tests" / "support" / "ddp_worker.py")
    output = run_processes(
        ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", worker, str(file)], folder
    )
    assert "21 train images encoded once" in output
    codes = [json.loads(part.read_text(encoding="utf-8")) for part in folder.glob("solve.codes*")]
    assert codes == [[0] * len(SOLVED)] * 2, output[-3000:]
    return {name: only(numclip.runs / name) for name in commands}


def solve(folder: Path, name: str) -> list[str]:
    flags = [word for word in numclip_in(folder, "solved").flags if not word.startswith("--model=")]
    # One batch holds all, in one process and in two: the same steps.
    own = [f"--model.backbone=local-dir:{folder / 'clip'}", "--data.augment=false", "--data.batch_size=32"]
    return ["fit", f"--model={name}", *flags, *own, "--test_after_fit=true"]


@pytest.mark.parametrize("name", SOLVED)
def test_features_of_two_processes_are_those_of_one(folder: Path, solved_by_two: dict[str, Path], name: str) -> None:
    single = numclip_in(folder, f"single-{name}").plain(
        *solve(folder, name),
        f"--trainer.default_root_dir={folder / f'single-{name}'}",
        "--trainer.devices=1",
        "--trainer.strategy=auto",
    )
    found, expected = (
        {key: value for key, value in metrics_of(run).items() if key.startswith("test_")}
        for run in (solved_by_two[name], single)
    )
    assert len(expected) == 6
    # The keys of Tip-Adapter-F are trained on one image twice, so that two processes have equally many.
    assert found == pytest.approx(expected, abs=0.3 if name == "TipAdapterF" else 1e-3)

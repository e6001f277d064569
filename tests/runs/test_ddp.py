"""Two processes give the numbers of one: each sample counts once, although the sampler repeats some."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from numclip_lightning.metrics import choose
from support.command import SIZES, Numclip, config_of, make_data, metrics_of, rows_of
from support.places import REPOSITORY
from support.tiny_clip import TINY_CLIPS
from support.tiny_fit import LEARNING, TRAINED

TWO = ("--trainer.devices=2", "--trainer.strategy=ddp")
# The text tower reads 16 tokens.
SHORT = "--model.num_context=4"
# The flags of methods that need some.
FLAGS = {
    "L2RCLIP": [SHORT, "--model.names=phrases"],
    "RankingAwareCLIP": ["--model.width=16"],
    "AMU": ["--model.names=phrases"],
    **{name: [SHORT] for name in ("AnomalyCLIP", "AntonymScale", "CLIPDR", "CLIPN", "CoOp", "OrdinalCLIP")},
}
# Methods that steps train, and those that gather features from all processes.
STEPPED = [kind.__name__ for kind in TRAINED]
SOLVED = [kind.__name__ for kind in LEARNING if kind not in TRAINED]
# One of each kind for every run of the tests; the others are slow.
QUICK = ("L2RCLIP", "GDA")

AVERAGED = ["--averaging.decay=0.9", "--model.learning_rates={image_encoder: 0.01, head: 0.1}"]
TUNED = ["--model.tune=svd", "--model.learning_rates={image_encoder: 0.01, text_encoder: 0.01, context: 0, head: 0.1}",
         "--model.num_context=null"]  # fmt: skip

# Images that can't be read: one of the second process, and the last one, of the first.
BAD = ("test_003.png", "test_016.png")


def run_processes(words: Sequence[str], folder: Path) -> str:
    # Gloo listens where nobody else can reach it.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    result = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=1200
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, lists and a tiny CLIP that every process can find."""
    folder = tmp_path_factory.mktemp("ddp")
    make_data(folder / "data")
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    for name, model in (("clip", "tiny-vit"), ("resnet", "tiny-resnet")):
        (folder / name).mkdir()
        config = {"model_cfg": TINY_CLIPS[model], "preprocess_cfg": preprocess}
        (folder / name / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
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
    words.append("--model.metrics=[all]")
    output = run_processes(["-m", "numclip_lightning", *words], folder)
    assert "find_unused_parameters" not in output
    assert output.count("This run is kept in") == 1
    return only(numclip.runs)


class ByTwo(NamedTuple):
    """What several commands in two processes left.

    Attributes:
        runs: The run folder of each command that succeeded, by name.
        codes: The exit codes of each command in both processes, by name.
        output: What all of them printed.
    """

    runs: dict[str, Path]
    codes: dict[str, list[int]]
    output: str


@pytest.fixture(scope="module")
def by_two(folder: Path, fitted_by_two: Path) -> ByTwo:
    """The quick commands under one torchrun: to start Python twice takes longer than any of them."""
    few = make_data(folder / "few", test=3)
    one = make_data(folder / "one", test=1)
    bad = make_data(folder / "bad")
    for name in BAD:
        (bad / name).write_bytes(b"")
    base = ["--config", str(fitted_by_two / "config.yaml"), "--ckpt_path", metrics_of(fitted_by_two)["best_checkpoint"]]
    commands = {
        "all": ["test", *base],
        "few": ["test", *base, f"--data.root={few}", "--data.batch_size=1"],
        "one": ["test", *base, f"--data.root={one}"],
        "predict": ["predict", *base, "--data.predict_path=test.txt"],
        "skip": ["predict", *base, f"--data.root={bad}", "--data.predict_path=test.txt", "--data.on_bad_image=skip"],
        "left_out": ["test", *base, f"--data.root={bad}", "--data.on_bad_image=skip"],
        **{name: words for name, words in fits(folder).items() if name in QUICK},
        "tuned": [*fit_with(folder, "NumCLIP", *TUNED), *TWO],
        "predict_one": ["predict", *base, f"--data.predict_path={one / 'test_000.png'}"],
    }
    return run_by_two(folder, folder / "runs", commands)


@pytest.fixture(scope="module")
def more_by_two(folder: Path) -> ByTwo:
    """The other fits, for slow tests."""
    averaged = fit_with(folder, "SORD", f"--model.backbone=local-dir:{folder / 'resnet'}", *AVERAGED)
    commands = {name: words for name, words in fits(folder).items() if name not in QUICK}
    return run_by_two(folder, folder / "more", {**commands, "averaged": [*averaged, *TWO]})


def fits(folder: Path) -> dict[str, list[str]]:
    """Return the commands that fit a method, by its name."""
    return {
        **{name: [*fit_with(folder, name, *FLAGS.get(name, ())), *TWO] for name in STEPPED},
        **{name: [*solve(folder, name), *TWO] for name in SOLVED},
    }


def run_by_two(folder: Path, runs: Path, commands: dict[str, list[str]]) -> ByTwo:
    """Run commands in two processes, each in a folder of its own below `runs`."""
    runs.mkdir()
    file = runs / "commands.json"
    words = [[*command, f"--trainer.default_root_dir={runs / name}"] for name, command in commands.items()]
    file.write_text(json.dumps(words), encoding="utf-8")
    worker = str(REPOSITORY / "tests" / "support" / "ddp_worker.py")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", worker, str(file)]
    output = run_processes(torchrun, folder)
    codes = [json.loads(part.read_text(encoding="utf-8")) for part in runs.glob("commands.codes*")]
    by_name = {name: list(pair) for name, pair in zip(commands, zip(*codes, strict=True), strict=True)}
    kept = {name: only(runs / name) for name, pair in by_name.items() if pair == [0, 0]}
    return ByTwo(kept, by_name, output)


def fit_with(folder: Path, method: str, *words: str) -> list[str]:
    """Return the words of a fit of a method on the shared lists and CLIP."""
    flags = [word for word in numclip_in(folder, "runs").flags if not word.startswith("--model=")]
    return ["fit", f"--model={method}", *flags, f"--model.backbone=local-dir:{folder / 'clip'}", *words]


def solve(folder: Path, method: str) -> list[str]:
    """Return the words of a fit whose steps are the same in one process and in two: one batch holds all images."""
    return fit_with(folder, method, "--data.augment=false", "--data.batch_size=32", "--test_after_fit=true")


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
        assert {f"{prefix}{key}" for key in choose(["all"], 1)} <= set(expected)
        assert same({key: kept[key] for key in expected}, expected)


def test_validation_images_of_two_processes_are_in_one_calibration(fitted_by_two: Path) -> None:
    rows = rows_of(fitted_by_two / "validation_predictions.csv")
    assert [row["path"] for row in rows] == [f"val_{i:03d}.png" for i in range(SIZES["val"])]
    error = sum(abs(float(row["error"])) for row in rows) / len(rows)
    assert error == pytest.approx(metrics_of(fitted_by_two)["val_mae"], abs=1e-4)
    calibration = json.loads((fitted_by_two / "calibration.json").read_text(encoding="utf-8"))
    assert calibration["n"] == SIZES["val"]
    # Both processes know it: each row has its interval.
    assert all(row["lower"] and row["upper"] for row in rows_of(fitted_by_two / "test_predictions.csv"))


@pytest.mark.parametrize(
    ("name", "words"),
    [("all", []), ("few", ["--data.root={few}", "--data.batch_size=1"]), ("one", ["--data.root={one}"])],
)
def test_a_test_counts_every_sample_once(
    folder: Path, fitted_by_two: Path, by_two: ByTwo, name: str, words: list[str]
) -> None:
    words = [word.format(few=folder / "few", one=folder / "one") for word in words]
    assert same(metrics_of(by_two.runs[name]), metrics_of(by_one(folder, fitted_by_two, "test", *words)))


def test_a_prediction_writes_every_row_once(folder: Path, fitted_by_two: Path, by_two: ByTwo) -> None:
    rows = rows_of(by_two.runs["predict"] / "predictions.csv")
    single = by_one(folder, fitted_by_two, "predict", "--data.predict_path=test.txt")
    expected = rows_of(single / "predictions.csv")
    assert [row["path"] for row in rows] == [f"test_{i:03d}.png" for i in range(SIZES["test"])]
    values, expected_values = ([float(row["value"]) for row in table] for table in (rows, expected))
    assert values == pytest.approx(expected_values, abs=1e-4)
    assert [row["phrase"] for row in rows] == [row["phrase"] for row in expected]


def test_images_that_two_processes_skip_are_joined(folder: Path, by_two: ByTwo) -> None:
    assert by_two.codes["skip"] == [3, 3]
    run = only(folder / "runs" / "skip")
    rows, whole = (rows_of(place / "predictions.csv") for place in (run, by_two.runs["predict"]))
    expected = [row for row in whole if row["path"] not in BAD]
    assert [row["path"] for row in rows] == [row["path"] for row in expected]
    assert [float(row["value"]) for row in rows] == pytest.approx([float(row["value"]) for row in expected], abs=1e-4)
    assert [row["path"] for row in rows_of(run / "predictions.skipped.csv")] == list(BAD)
    assert not list(run.glob("*.part*"))


def test_images_that_can_not_be_read_are_left_out_of_both_processes(by_two: ByTwo) -> None:
    run = by_two.runs["left_out"]
    assert [row["path"] for row in rows_of(run / "left_out.csv")] == list(BAD)
    metrics, rows = metrics_of(run), rows_of(run / "test_predictions.csv")
    assert metrics["test_left_out"] == len(BAD)
    assert [row["path"] for row in rows] == [
        row["path"] for row in rows_of(by_two.runs["predict"] / "predictions.csv") if row["path"] not in BAD
    ]
    errors = [abs(float(row["error"])) for row in rows]
    assert metrics["test_mae"] == pytest.approx(sum(errors) / len(errors), abs=1e-5)


def test_one_image_is_not_divided_among_two_processes(by_two: ByTwo, folder: Path) -> None:
    assert by_two.codes["predict_one"] == [2, 2]
    assert "2 processes can't share 1 images; predict them with --trainer.devices=1" in by_two.output
    assert not list((folder / "runs" / "predict_one").glob("*/predictions.csv"))


def quick_and_slow(names: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in names]


@pytest.fixture
def of_method(request: pytest.FixtureRequest, name: str) -> ByTwo:
    """What the commands left of which the fit of a method is one."""
    found: ByTwo = request.getfixturevalue("by_two" if name in QUICK else "more_by_two")
    return found


@pytest.mark.parametrize("name", quick_and_slow(STEPPED))
def test_every_trained_method_fits_in_two_processes(of_method: ByTwo, name: str) -> None:
    # A part without a gradient would stop the second step, or need find_unused_parameters.
    assert of_method.codes[name] == [0, 0]
    assert "find_unused_parameters" not in of_method.output


@pytest.mark.slow
def test_averages_of_two_processes_are_those_of_their_checkpoint(folder: Path, more_by_two: ByTwo) -> None:
    # What batch normalisation has seen differs between the processes.
    run = more_by_two.runs["averaged"]
    expected = metrics_of(by_one(folder, run, "validate"))["val_mae"]
    assert metrics_of(run)["val_mae"] == pytest.approx(expected, abs=1e-5)


def test_tuned_towers_of_two_processes_are_those_of_their_checkpoint(folder: Path, by_two: ByTwo) -> None:
    assert "find_unused_parameters" not in by_two.output
    run = by_two.runs["tuned"]
    assert "numbers of the text tower are trained" in by_two.output
    expected = metrics_of(by_one(folder, run, "validate"))["val_mae"]
    assert metrics_of(run)["val_mae"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", quick_and_slow(SOLVED))
def test_features_of_two_processes_are_those_of_one(folder: Path, of_method: ByTwo, name: str) -> None:
    assert "21 train images encoded once" in of_method.output
    single = numclip_in(folder, f"single-{name}").plain(
        *solve(folder, name),
        f"--trainer.default_root_dir={folder / f'single-{name}'}",
        "--trainer.devices=1",
        "--trainer.strategy=auto",
    )
    found, expected = (
        {key: value for key, value in metrics_of(run).items() if key.startswith("test_")}
        for run in (of_method.runs[name], single)
    )
    assert len(expected) == 8, "six that are measured, and what guessing costs"
    # The keys of Tip-Adapter-F are trained on one image twice, so that two processes have equally many.
    assert found == pytest.approx(expected, abs=0.3 if name == "TipAdapterF" else 1e-3)

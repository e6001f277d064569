"""Every file under configs/ does what it says: runs fit and test, overlays fit a run, sweeps name the metric."""

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import write_tables
from numclip_lightning.cli import main
from numclip_lightning.data.clap2015 import CLAP2015DataModule
from numclip_lightning.methods import OrdinalMethod
from numclip_lightning.runs.command import NumClipCLI
from support import fake_sets
from support.command import TINY, Numclip, config_of, metrics_of, rows_of
from support.fake_data import (
    make_adience,
    make_aesthetics,
    make_clap2015,
    make_fgnet,
    make_historical,
    make_image,
    make_retina,
    make_utkface,
)
from support.places import CONFIGS, REPOSITORY, SHARED

RUNS = sorted(CONFIGS.glob("*.yaml"))
METHODS = sorted(CONFIGS.glob("methods/*.yaml"))
SWEEPS = sorted(CONFIGS.glob("sweeps/*.yaml"))

ONE_STEP = (
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=1",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--data.batch_size=4",
    "--data.num_workers=0",
    "--test_after_fit=true",
)


def make_morph_et(root: Path) -> None:
    """Write the lists of OrdinalCLIP's authors: a path and one age or several, no header."""
    for split, first in (("train", 100000), ("val", 300000)):
        names = [f"{first + i // 2}_{i % 2:02d}M{20 + i}.JPG" for i in range(16)]
        for name in names:
            make_image(root / name)
        lines = [f"{name} {20 + i} {21 + i}" if i % 2 else f"{name} {20 + i}" for i, name in enumerate(names)]
        (root / f"ET_proto_{split}.txt").write_text("\n".join(lines), encoding="utf-8")


MAKERS: dict[str, Callable[[Path], None]] = {
    "adience": make_adience,
    "aesthetics": make_aesthetics,
    "clap2015": make_clap2015,
    "fgnet": make_fgnet,
    "historical": make_historical,
    "morph": make_morph_et,
    "retina": make_retina,
    "utkface": make_utkface,
}
# Their datamodules are tested on the same copies, without a model; here two of them are fitted quickly.
QUICK_SETS = ("ava", "facebenchmark")


def load(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


# Their images lie beside the repository, if anywhere.
ON_SHARED = [file for file in RUNS if "root: ../shared" in file.read_text(encoding="utf-8")]


def leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        for value in tree.values():
            yield from leaves(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from leaves(value)
    else:
        yield tree


def runs_elsewhere() -> Iterator[Any]:
    """Every run whose images are made here; those of `fake_sets` are slow but for two."""
    for file in (file for file in RUNS if file not in ON_SHARED):
        slow = file.stem in fake_sets.MAKERS and file.stem not in QUICK_SETS
        yield pytest.param(file, marks=pytest.mark.slow if slow else (), id=file.stem)


@pytest.mark.parametrize("file", list(runs_elsewhere()))
def test_a_complete_run_fits_and_tests(
    file: Path, numclip: Numclip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    if file.stem == "counting":
        # It draws its own images, and has the embedded backbone.
        small = [f"--data.num_{split}=8" for split in ("train", "val", "test")]
    else:
        {**MAKERS, **fake_sets.MAKERS}[file.stem](tmp_path / "data")
        small = [f"--data.root={tmp_path / 'data'}", *TINY]
    run = numclip.plain("fit", "--config", str(file), *small, *numclip.small, *ONE_STEP)
    metrics = metrics_of(run)
    assert math.isfinite(metrics["val_mae"])
    assert math.isfinite(metrics["test_mae"])
    written, resolved = load(file)["model"]["init_args"], config_of(run)["model"]["init_args"]
    assert {key: resolved["learning_rates"][key] for key in written["learning_rates"]} == written["learning_rates"]
    assert resolved["lr_scheduler"]["name"] == written["lr_scheduler"]["name"]


def test_the_epsilon_error_follows_from_the_predictions(numclip: Numclip, tmp_path: Path) -> None:
    make_clap2015(tmp_path, test=9)
    words = ("--config", str(CONFIGS / "clap2015.yaml"), f"--data.root={tmp_path}", *TINY, *numclip.small)
    run = numclip.plain("test", *words, "--data.batch_size=4")
    spreads = {label.path: float(label.spread or 0) for label in CLAP2015DataModule(root=str(tmp_path)).labels("test")}
    rows = rows_of(run / "test_predictions.csv")
    errors = [(float(row["value"]) - float(row["target"])) / spreads[row["path"]] for row in rows]
    expected = 1 - sum(math.exp(-(error**2) / 2) for error in errors) / len(errors)
    assert len(errors) == 9
    assert metrics_of(run)["test_epsilon"] == pytest.approx(expected, abs=1e-4)
    assert "test_epsilon" not in metrics_of(numclip("test"))


@pytest.mark.parametrize("file", ON_SHARED, ids=lambda file: file.stem)
def test_a_run_on_shared_images_fits_and_tests(file: Path, numclip: Numclip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    if not Path(load(file)["data"]["init_args"]["root"]).is_dir():
        pytest.skip("the images of ../shared are not here")
    run = numclip.plain("fit", "--config", str(file), "--data.check_images=none", *numclip.small, *ONE_STEP)
    assert math.isfinite(metrics_of(run)["test_mae"])


# Guessing the median costs 1.49 fingers and 2.65 grades. Blood cells are read no better than that (2.83 against 2.59).
@pytest.mark.slow
@pytest.mark.parametrize(("name", "most"), [("fingers", 0.75), ("tomatoes", 2.6)])
def test_a_linear_probe_reads_real_images(
    name: str, most: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    if not (SHARED / "data" / name).is_dir():
        pytest.skip("the images of ../shared are not here")
    words = ["fit", f"--config=configs/{name}.yaml", "--config=configs/methods/linear_probe.yaml"]
    assert main([*words, "--test_after_fit=true", f"--trainer.default_root_dir={tmp_path}"]) == 0
    (run,) = tmp_path.iterdir()
    assert metrics_of(run)["test_mae"] <= most


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the faces are not here")
@pytest.mark.parametrize(("shots", "most"), [(0, 7.8), (4, 9.0)])
def test_faces_mini_reaches_its_target_in_time(
    shots: int, most: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    words = ["fit", "--config=configs/faces_mini.yaml", "--test_after_fit=true", f"--data.num_shots={shots}"]
    start = time.monotonic()
    # A process of its own: here, only one thread computes.
    command = [sys.executable, "-m", "numclip_lightning", *words, f"--trainer.default_root_dir={tmp_path}"]
    subprocess.run(command, check=True, timeout=360)
    (run,) = tmp_path.iterdir()
    assert metrics_of(run)["test_mae"] <= most
    assert time.monotonic() - start < 360


def method_on_run() -> Iterator[Any]:
    """Every method on one run, and every run with two methods: one keeps rates of the run, one sets them all."""
    for run in (file for file in RUNS if file.stem in MAKERS):
        for method in METHODS:
            says_something = run.stem == "aesthetics" or method.stem in ("coop_ordinal", "tip_adapter")
            marks = () if says_something else (pytest.mark.slow,)
            yield pytest.param(run, method, marks=marks, id=f"{run.stem}-{method.stem}")


@pytest.mark.parametrize(("run", "method"), list(method_on_run()))
def test_a_method_trains_the_parts_that_its_page_names(
    method: Path, run: Path, numclip: Numclip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    # Some contexts need more than 16 tokens.
    words = ["--config", str(run), "--config", str(method), *TINY, "--model.backbone=tiny-timm", *numclip.small]
    built: OrdinalMethod = NumClipCLI(["test", *words], until="built").model
    facts = write_tables.read_facts(REPOSITORY / "docs" / "methods" / f"{method.stem}.md")
    assert write_tables.trained_parts(built) == facts["trains"]


def test_the_wandb_overlay_fits_a_run(numclip: Numclip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_aesthetics(tmp_path / "data")
    overlay = CONFIGS / "loggers" / "wandb.yaml"
    base = ("--config", str(CONFIGS / "aesthetics.yaml"), "--config", str(overlay), f"--data.root={tmp_path / 'data'}")
    before = set(tmp_path.iterdir())
    numclip.try_out("fit", *base, *TINY, *numclip.small)
    assert set(tmp_path.iterdir()) <= {*before, numclip.runs}


PUBLISHED = [file for file in RUNS if "published settings" in file.read_text(encoding="utf-8").partition("\n")[0]]
CONTEXTS = {
    **dict.fromkeys(("clap2015", "fgnet", "morph", "utkface"), "age estimation: the person is a {}."),
    "aesthetics": "aesthetics assessment: the quality of the photo is {}.",
    "historical": "a photo taken in the {}.",
}


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.stem)
def test_published_settings_are_those_of_the_published_commands(file: Path) -> None:
    arguments = load(file)["model"]["init_args"]
    context = 1e-5 if file.stem == "aesthetics" else 0
    trained = dict.fromkeys(("image_encoder", "adapter", "phrases", "head"), 1e-5)
    assert arguments["learning_rates"] == {**trained, "context": context}
    assert arguments["optimizer"] == {"name": "PublishedRAdam"}
    assert arguments["lr_scheduler"] == {"name": "MultiStepLR"}
    if file.stem in CONTEXTS:
        assert arguments["scale"]["template"] == CONTEXTS[file.stem]


def test_eight_runs_have_published_settings() -> None:
    assert {file.stem for file in PUBLISHED} == {*CONTEXTS, "adience", "retina"}


def test_ordinalclip_has_the_settings_of_its_comparison_by_name() -> None:
    overlay = load(CONFIGS / "methods" / "ordinalclip_published.yaml")
    arguments = overlay["model"]["init_args"]
    assert overlay["trainer"] == {"max_epochs": 100}
    assert arguments["num_context"] is None
    assert arguments["optimizer"] == {"name": "PublishedRAdam", "args": {"weight_decay": 5e-4}}
    assert arguments["lr_scheduler"]["name"] == "CosineAnnealingLR"
    assert set(arguments["learning_rates"].values()) == {1e-4}


def test_no_config_has_an_absolute_path() -> None:
    files = list(CONFIGS.rglob("*.yaml"))
    assert files
    assert [(file, leaf) for file in files for leaf in leaves(load(file)) if str(leaf).startswith(("/", "~"))] == []


def test_checkpoints_sweeps_and_results_use_one_metric(fitted: Path) -> None:
    assert config_of(fitted)["checkpoint"]["monitor"] == "val_mae"
    assert [load(file)["metric"] for file in SWEEPS] == [{"name": "val_mae", "goal": "minimize"}] * len(SWEEPS)
    assert SWEEPS
    metrics, rows = metrics_of(fitted), rows_of(fitted / "metrics.csv")
    logged = [float(row["val_mae"]) for row in rows if row["val_mae"]]
    assert len(logged) == 2
    assert metrics["val_mae"] == pytest.approx(min(logged))

"""Weights & Biases: an overlay and a sweep, both without an account; nothing of it for those who don't ask."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from support.command import TINY, Numclip, config_of, metrics_of, rows_of
from support.fake_data import make_aesthetics
from support.places import REPOSITORY

SWEEP = REPOSITORY / "configs" / "sweeps" / "aesthetics.yaml"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Work in this test's folder, where `configs` is the project's, without the network."""
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    make_aesthetics(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield
    wandb.finish()


def expand(draw: dict[str, Any]) -> list[str]:
    """Turn a draw of the sweep into words after `numclip`, as the agent does (wandb/wandb_agent.py)."""
    sweep = yaml.safe_load(SWEEP.read_text(encoding="utf-8"))
    assert set(draw) == set(sweep["parameters"])
    macros = {
        "env": ["/usr/bin/env"],
        **create_sweep_command_args({"args": {key: {"value": value} for key, value in draw.items()}}),
    }
    words: list[str] = []
    for item in create_sweep_command(sweep["command"]):
        words += macros[item[2:-1]] if item.startswith("${") else [str(item)]
    assert words[:3] == ["/usr/bin/env", "numclip", "fit"]
    return words[2:]


def small(numclip: Numclip) -> list[str]:
    return ["--data.root=data", *TINY, *numclip.small, "--trainer.max_epochs=1", "--trainer.limit_train_batches=1"]


def at(tree: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        tree = tree["init_args"][key] if "init_args" in tree else tree[key]
    return tree


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "draw",
    [
        {
            "model.learning_rates.image_encoder": 1e-05,
            "model.learning_rates.phrases": 0.0,
            "model.weighting": "none",
            "model.loss_weights.text_to_image": 0.0,
            "data.augment": False,
        },
        {
            "model.learning_rates.image_encoder": 0.00012345678901234567,
            "model.learning_rates.phrases": 1e-05,
            "model.weighting": "similarities",
            "model.loss_weights.text_to_image": 1.0,
            "data.augment": True,
        },
    ],
)
def test_what_the_agent_draws_is_what_is_run(draw: dict[str, Any], numclip: Numclip) -> None:
    words = expand(draw)
    assert not any(" " in word for word in words), "one word an item"
    config = config_of(numclip.plain(*words, *small(numclip)))
    for key, value in draw.items():
        assert at(config, key) == value, key
        assert type(at(config, key)) is type(value), key


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_two_runs_in_one_folder_keep_apart(numclip: Numclip, tmp_path: Path) -> None:
    words = ["fit", "--config", "configs/aesthetics.yaml", "--config", "configs/loggers/wandb.yaml", *small(numclip)]
    runs = []
    for rate in (1e-4, 2e-4):
        runs.append(numclip.plain(*words, f"--model.learning_rates.head={rate}"))
        assert wandb.run is not None
        logged = dict(wandb.run.config)
        assert logged["model.init_args.learning_rates.head"] == rate
        assert logged["data.init_args.category"] == "people"
        assert wandb.run.summary["val_mae"] > 0
        wandb.finish()
    assert len(list((tmp_path / "runs" / "wandb").glob("offline-run-*"))) == 2
    assert [config_of(run)["model"]["init_args"]["learning_rates"]["head"] for run in runs] == [1e-4, 2e-4]
    assert all((run / "checkpoints" / "best.ckpt").is_file() for run in runs)


@pytest.mark.usefixtures("offline")
def test_a_sweep_aims_at_the_epoch_whose_checkpoint_is_kept(numclip: Numclip) -> None:
    words = ["fit", "--config", "configs/aesthetics.yaml", "--config", "configs/loggers/wandb.yaml", *small(numclip)]
    # So fast that it gets worse after an epoch.
    rates = [f"--model.learning_rates.{part}=0.3" for part in ("image_encoder", "adapter", "phrases", "head")]
    # The published optimiser rests in its first five steps, more than there are here.
    rates.append("--model.optimizer.name=RAdam")
    run = numclip.plain(*words, *rates, "--trainer.max_epochs=3", "--test_after_fit=true")
    errors = [float(row["val_mae"]) for row in rows_of(run / "metrics.csv") if row["val_mae"]]
    assert min(errors) < errors[-1], "else the last epoch is the best, and nothing is shown"
    assert wandb.run is not None
    summary, metrics = dict(wandb.run.summary), metrics_of(run)
    best = {name: value for name, value in metrics.items() if name.startswith(("val_", "test_"))}
    assert best["val_mae"] == pytest.approx(min(errors), abs=1e-5)
    # What guessing costs is no metric of the run.
    assert {name: summary.get(name) for name in best if "guess" not in name} == {
        name: value for name, value in best.items() if "guess" not in name
    }


@pytest.mark.usefixtures("offline")
def test_without_the_overlay_there_is_no_wandb(
    numclip: Numclip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An import of it would raise an error.
    for name in ("wandb", "tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    numclip.plain("fit", "--config", "configs/aesthetics.yaml", *small(numclip))
    assert wandb.run is None
    assert "wandb" not in {path.name for path in tmp_path.rglob("*")}

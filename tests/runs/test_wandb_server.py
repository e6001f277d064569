"""The real client of Weights & Biases, on a server of our own: what a run looks like there."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb

from support.command import Numclip, config_of, make_data, metrics_of
from support.places import REPOSITORY
from support.processes import in_processes
from support.wandb_records import Run
from support.wandb_server import WandbServer, wandb_server

OVERLAY = REPOSITORY / "configs" / "loggers" / "wandb.yaml"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WandbServer]:
    """A server, and a client in this process that knows no other."""
    with wandb_server() as found:
        wandb.teardown()
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("WANDB_SILENT", "true")
        monkeypatch.chdir(tmp_path)
        yield found
        wandb.teardown()


def only(server: WandbServer) -> Run:
    (run,) = server.runs.values()
    return run


def drawn_against(run: Run) -> dict[str, str]:
    """Return the axis of each metric that the client has defined by its name."""
    # The words of its protocol: 1 is a name, 4 the name of its axis, or 5 the place of that in the list, from 1.
    told = run.config["_wandb"]["m"]
    named = [one for one in told if "1" in one and {"4", "5"} & {*one}]
    return {one["1"]: one.get("4") or told[one["5"] - 1]["1"] for one in named}


def test_the_client_is_understood(server: WandbServer, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"weights")
    with wandb.init(project="p", id="mine", config={"rate": 1e-05, "deep.key": None, "list": [1, None]}) as run:
        run.log({"val_mae": 2.0})
        run.log({"val_mae": 1.0})
        artifact = wandb.Artifact("model", type="model", metadata={"score": 1.0})
        artifact.add_file(str(tmp_path / "weights"), name="model.ckpt")
        run.log_artifact(artifact, aliases=["best"])
    found = server.runs["mine"]
    assert (found.state, found.exit_code, found.starts) == ("finished", 0, 1)
    assert {key: found.config[key] for key in ("rate", "deep.key", "list")} == {
        "rate": 1e-05, "deep.key": None, "list": [1, None],
    }  # fmt: skip
    assert [row["val_mae"] for row in found.history] == [2, 1]
    assert found.summary["val_mae"] == 1
    (kept,) = server.artifacts
    assert kept.committed
    assert kept.files == {"model.ckpt": b"weights"}
    assert "best" in kept.aliases


@pytest.mark.slow
def test_a_fit_is_logged_whole(server: WandbServer, numclip: Numclip) -> None:
    run = numclip(
        "fit", "--config", str(OVERLAY), f"--trainer.logger.save_dir={numclip.runs}", "--trainer.logger.log_model=true",
        "--pictures=true", "--test_after_fit=true",
    )  # fmt: skip
    wandb.finish()
    found, metrics = only(server), metrics_of(run)
    assert found.state == "finished"
    # The resolved configuration.
    assert found.config["model.init_args.scale.maximum"] == 19
    assert found.config["trainer.max_epochs"] == config_of(run)["trainer"]["max_epochs"] == 2
    # Metrics, against epochs.
    epochs = [row["epoch"] for row in found.history if "val_mae" in row]
    assert epochs == [0, 1]
    axes = drawn_against(found)
    assert {axes[name] for name in ("val_mae", "train_loss", "val_loss", "test_mae", "train_mae")} == {"epoch"}
    assert "grad_norm" not in axes
    assert found.summary["val_mae"] == pytest.approx(metrics["val_mae"])
    # What is of steps.
    for name in ("lr/image_encoder", "grad_norm"):
        assert len([row for row in found.history if name in row]) == 6
    assert len([row for row in found.history if "images_per_second" in row]) == 5
    # Pictures, the same as in the run folder.
    for file in (run / "pictures").iterdir():
        told = found.summary[f"pictures/{file.stem}"]
        assert found.files[told["filenames"][0]] == file.read_bytes()
    # The checkpoint.
    best = Path(metrics["best_checkpoint"]).read_bytes()
    (kept,) = [one for one in server.artifacts if "best" in one.aliases and one.committed]
    assert kept.files == {"model.ckpt": best}
    told = json.loads((run / "wandb.json").read_text(encoding="utf-8"))
    assert told == {"id": found.name, "project": "numclip", "entity": "team", "sweep": None, "url": told["url"]}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork", "ignore:Using `DistributedSampler`")
def test_two_processes_make_one_run(server: WandbServer, tmp_path: Path) -> None:
    numclip = Numclip(make_data(tmp_path / "data"), tmp_path / "runs")

    def fit(_: int) -> int:
        from numclip_lightning.cli import main

        words = ["--config", str(OVERLAY), "--trainer.devices=2", "--trainer.strategy=ddp", "--report=false"]
        code = main(["fit", *numclip.flags, *words])
        wandb.finish()
        return code

    assert in_processes(2, tmp_path, fit) == [0, 0]
    found = only(server)
    assert (found.state, found.starts) == ("finished", 1)
    assert [row["epoch"] for row in found.history if "val_mae" in row] == [0, 1]
    (run,) = numclip.runs.glob("20*")
    assert found.summary["val_mae"] == pytest.approx(metrics_of(run)["val_mae"])
    assert {"curves.png", "val_confusion.png"} <= {file.name for file in (run / "pictures").iterdir()}
    assert found.summary["pictures/val_confusion"]["_type"] == "images/separated"

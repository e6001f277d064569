"""Sweeps of Weights & Biases with its own client and agents, on a server of our own: two agents, eight runs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.command import config_of, make_data, metrics_of, rows_of
from support.numclip_process import wait_until
from support.places import REPOSITORY
from support.tiny_clip import TINY_CLIPS
from support.wandb_server import WandbServer, wandb_server
from support.warm_numclip import warm_numclip

pytestmark = pytest.mark.slow

# `wandb agent`, which asks for work twice a second and not every five.
_AGENT = (
    "import sys, wandb.wandb_agent as agent\nagent.Agent.POLL_INTERVAL = 0.5\nfrom wandb.cli.cli import cli\n"
    "cli(['agent', *sys.argv[1:]])"
)
_CONFIG = {
    "model": {
        "class_path": "NumCLIP",
        "init_args": {
            "scale": {"minimum": 10, "maximum": 19, "levels": [
                {"phrase": "few", "start": 10}, {"phrase": "some", "start": 14}, {"phrase": "many", "start": 17}]},
            "backbone": "local-dir:clip", "pretrained": None,
        },
    },
    "data": {"class_path": "ListDataModule", "init_args": {
        "root": "data", "train_file": "train.txt", "val_file": "val.txt", "test_file": "test.txt", "batch_size": 8,
        "image_size": 32, "num_workers": 0}},
    "trainer": {"default_root_dir": "runs", "max_epochs": 2, "log_every_n_steps": 1, "accelerator": "cpu",
                "enable_model_summary": False},
}  # fmt: skip


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with warm_numclip(tmp_path_factory.mktemp("warm")) as found:
        yield found


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with wandb_server() as found:
        yield found


class Place:
    """A folder with data, a run configuration and the sweep of a test; its agents are processes."""

    def __init__(self, folder: Path, programs: Path, server: WandbServer) -> None:
        self.folder, self.server = folder, server
        make_data(folder / "data")
        (folder / "clip").mkdir()
        clip = {"model_cfg": TINY_CLIPS["tiny-vit"], "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
        (folder / "clip" / "open_clip_config.json").write_text(json.dumps(clip), encoding="utf-8")
        (folder / "run.yaml").write_text(yaml.safe_dump(_CONFIG), encoding="utf-8")
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, **server.environment, "PATH": path, "OMP_NUM_THREADS": "1"}

    def create(self, *words: str, **sweep: Any) -> str:
        """Create a sweep by the client's own command; return its id."""
        overlay = str(REPOSITORY / "configs" / "loggers" / "wandb.yaml")
        command = ["${env}", "numclip", "fit", "--config", "run.yaml", "--config", overlay, "--pictures=false"]
        whole = {"metric": {"name": "val_mae", "goal": "minimize"}, **sweep, "command": [*command, *words, "${args}"]}
        (self.folder / "sweep.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
        subprocess.run(
            [sys.executable, "-m", "wandb", "sweep", "--project", "numclip", "sweep.yaml"],
            cwd=self.folder, env=self.environment, check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        return next(iter(self.server.sweeps))

    @contextmanager
    def agents(self, number: int, *words: str) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Start agents of the sweep, and end what is left of them."""
        started: list[subprocess.Popen[bytes]] = []
        for _ in range(number):
            command = [sys.executable, "-c", _AGENT, *words, f"team/numclip/{next(iter(self.server.sweeps))}"]
            with (self.folder / f"agent{len(self.server.agents)}-{len(started)}.log").open("wb") as log:
                started.append(subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=log))
        try:
            yield started
        finally:
            for agent in started:
                agent.kill()
                agent.wait()

    def run(self, number: int) -> None:
        """Work the sweep off."""
        with self.agents(number) as started:
            assert [agent.wait(timeout=1800) for agent in started] == [0] * number

    @property
    def folders(self) -> dict[str, list[Path]]:
        """The run folders of each run of the sweep, the earliest first."""
        found: dict[str, list[Path]] = {}
        for file in sorted(self.folder.glob("runs/20*/wandb.json")):
            found.setdefault(json.loads(file.read_text(encoding="utf-8"))["id"], []).append(file.parent)
        return found


@pytest.fixture
def place(tmp_path: Path, programs: Path, server: WandbServer) -> Place:
    return Place(tmp_path, programs, server)


def at(tree: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        tree = tree["init_args"][key] if "init_args" in tree else tree[key]
    return tree


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if prefix + key in ("model", "model.loss_weights"):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def test_random_values_of_every_kind_arrive_and_a_failed_run_stops_nothing(place: Place) -> None:
    parameters = {
        "model.learning_rates.image_encoder": {"values": [1e-05, 0.0001]},
        "model.learning_rates.head": {"values": [0.01, 0.001, 1e30]},
        "model.learning_rates.phrases": {"distribution": "log_uniform_values", "min": 1e-6, "max": 1e-3},
        "model": {"parameters": {
            "tolerance": {"value": None},
            "loss_weights": {"parameters": {"text_to_image": {"values": [0.0, 1.0]}}},
        }},
        "model.lr_scheduler": {"value": None},
        "model.metrics": {"value": ["default", "rmse"]},
        "model.optimizer.args": {"value": {"weight_decay": 1e-05, "foreach": None}},
        "data.augment": {"values": [True, False]},
    }  # fmt: skip
    sweep = place.server.sweeps[place.create("--model.optimizer.name=RAdam", method="random", parameters=parameters,
                                             run_cap=8)]  # fmt: skip
    place.run(2)
    server, folders = place.server, place.folders
    assert not server.unknown or set(server.unknown) <= {"OrganizationCoreWeaveOrganizationID", "ArtifactType"}
    assert len(sweep.given) == len(server.runs) == 8
    assert all(agent.runs for agent in server.agents.values()), "both have worked"
    diverged = {name for name, given in sweep.given.items() if given["model.learning_rates.head"] == 1e30}
    assert 0 < len(diverged) < 8
    for name, given in sweep.given.items():
        run, (folder,) = server.runs[name], folders[name]
        assert run.state == ("failed" if name in diverged else "finished")
        config = config_of(folder)
        for key, value in leaves(given):
            assert at(config, key) == value, key
            assert type(at(config, key)) is type(value), key
        assert run.config["model.init_args.optimizer.args.weight_decay"] == 1e-05
        if name not in diverged:
            assert run.summary["val_mae"] == pytest.approx(metrics_of(folder)["val_mae"])
            assert [row["epoch"] for row in run.history if "val_mae" in row] == [0, 1]


def test_bayes_gets_the_score_of_the_checkpoint_that_is_kept(place: Place) -> None:
    rates = {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0}
    parameters = {"model.learning_rates.head": rates, "model.weighting": {"values": ["logits", "none"]}}
    sweep = place.server.sweeps[place.create(method="bayes", parameters=parameters, run_cap=8)]
    place.run(2)
    kept = {name: metrics_of(folder)["val_mae"] for name, (folder,) in place.folders.items()}
    assert len(kept) == 8
    assert sweep.best(place.server.runs) == min(kept, key=lambda name: kept[name])
    assert all(place.server.runs[name].summary["val_mae"] == pytest.approx(error) for name, error in kept.items())


def test_hyperband_stops_runs_of_a_grid_and_agents_go_on(place: Place) -> None:
    parameters = {
        "model.learning_rates.head": {"values": [0.03, 1e-9, 1e-8, 1e-7]},
        "data.augment": {"values": [True, False]},
    }
    rule = {"type": "hyperband", "min_iter": 1, "eta": 2}
    place.create("--trainer.max_epochs=20", method="grid", parameters=parameters, early_terminate=rule)
    place.run(2)
    (sweep,) = place.server.sweeps.values()
    points = {(given["model.learning_rates.head"], given["data.augment"]) for given in sweep.given.values()}
    assert points == {(rate, augment) for rate in (0.03, 1e-9, 1e-8, 1e-7) for augment in (True, False)}
    assert len(sweep.given) == 8
    # As many stopped runs as would end an agent, if they counted as failed.
    assert len(sweep.stopped) >= 3
    for name, run in place.server.runs.items():
        epochs = [row["epoch"] for row in run.history if "val_mae" in row]
        assert epochs == list(range(len(epochs)))
        if name in sweep.stopped and run.state == "killed":
            (folder,) = place.folders[name]
            assert len(epochs) < 20
            assert (folder / "checkpoints" / "last.ckpt").is_file()
        else:
            assert (run.state, len(epochs)) == ("finished", 20)
    assert any(run.state == "killed" for run in place.server.runs.values())


def test_a_preempted_run_goes_on_with_another_agent(place: Place) -> None:
    parameters = {"model.learning_rates.head": {"value": 1e-05}, "model.tolerance": {"value": None}}
    name = place.create("--trainer.max_epochs=30", "--preemptible=true", method="random", parameters=parameters,
                        run_cap=1)  # fmt: skip
    sweep, runs = place.server.sweeps[name], place.server.runs
    with place.agents(1, "--forward-signals") as (agent,):
        wait_until(lambda: any(sum("val_mae" in row for row in run.history) >= 3 for run in runs.values()))
        (run,) = runs.values()
        agent.send_signal(signal.SIGTERM)
        wait_until(lambda: run.state != "running" and run.state != "preempting")
        assert run.state == "preempted"
        reached = sum("val_mae" in row for row in run.history)
        assert reached < 30
        agent.wait(timeout=120)
    place.run(1)
    assert sweep.resumed == [run.name]
    assert (run.state, run.starts, len(runs)) == ("finished", 2, 1)
    # Every epoch once, in one curve.
    assert [row["epoch"] for row in run.history if "val_mae" in row] == list(range(30))
    first, second = place.folders[run.name]
    assert next(int(row["epoch"]) for row in rows_of(second / "metrics.csv") if row["val_mae"]) > 0
    assert config_of(first)["model"]["init_args"] == config_of(second)["model"]["init_args"]
    assert run.summary["val_mae"] == pytest.approx(metrics_of(second)["val_mae"])

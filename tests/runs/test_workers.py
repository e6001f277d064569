"""Running a benchmark: a failed run hides no other, a finished run is not repeated, whatever is killed."""

import os
import re
import signal
from contextlib import chdir
from functools import partial
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from numclip_lightning.cli import main
from numclip_lightning.runs.archive import unpack_runs
from numclip_lightning.runs.benchmark import Benchmark
from numclip_lightning.runs.code import CodeVersion
from numclip_lightning.runs.devices import gpu_of, peak_memory
from numclip_lightning.runs.entries import DatasetEntry, MethodEntry
from numclip_lightning.runs.plan import plan
from numclip_lightning.runs.planned import PlannedRun
from numclip_lightning.runs.workers import execute
from support.command import metrics_of, rows_of
from support.numclip_process import PATIENCE, numclip_process, wait_until
from support.places import REPOSITORY
from support.tiny_benchmark import SMALL, ZERO_SHOT, Write, records, times, write_config


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a benchmark's configuration into the folder of the test."""
    monkeypatch.chdir(REPOSITORY)
    return partial(write_config, tmp_path)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a benchmark of which two runs have finished and five failed, each for another reason."""
    folder = tmp_path_factory.mktemp("records")
    methods = {
        "wrong": {"args": {"model.weighting": "nonsense"}},
        "refused": {"args": {"data.num_train": 0}},
        "killed": {"args": {"model": "support.benchmark_victim.Killed"}},
        "broken": {"args": {"model": "support.benchmark_victim.Broken"}},
        "untrained": {"trains": False},
        "Zero": ZERO_SHOT,
        "NumCLIP": {},
    }
    with chdir(REPOSITORY):
        assert (
            main(["benchmark", "--config", str(write_config(folder, methods, on_mistakes="run")), "--processes=2"]) == 1
        )
    return folder


class TestRecords:
    def test_failed_runs_hide_no_finished_ones(self, ended: Path) -> None:
        finished = {name for name, record in records(ended).items() if record["status"] == "finished"}
        assert finished == {"Zero 0", "NumCLIP 0"}
        report = (ended / "runs" / "reports" / "try" / "report.md").read_text(encoding="utf-8")
        assert "5 of 7 runs failed" in report
        assert "num_train=0 must be at least 1" in report

    @pytest.mark.parametrize(
        ("name", "error"),
        [
            ("wrong", ".*Got value: nonsense.*"),
            ("refused", "num_train=0 must be at least 1.*"),
            ("killed", "the process was killed by signal 9; the memory may have been full; see log.txt"),
            ("broken", r"KeyError: 'weights [weights ]{300,500} \.\.\.; see log\.txt"),
            (
                "untrained",
                "NumCLIP was tested untrained, though it has something to learn; remove `trains: false` from "
                "'untrained', or give it a checkpoint by `ckpt_path` in its args.",
            ),
        ],
    )
    def test_a_failed_run_has_its_reason(self, ended: Path, name: str, error: str) -> None:
        record = records(ended)[f"{name} 0"]
        assert record["status"] == "failed"
        assert re.fullmatch(error, record["error"])

    def test_a_finished_run_has_the_numbers_of_its_predictions(self, ended: Path) -> None:
        (run,) = ended.glob("runs/counting/numclip/*/result.json")
        rows = rows_of(run.parent / "test_predictions.csv")
        mae = sum(abs(float(row["value"]) - float(row["target"])) for row in rows) / len(rows)
        record = records(ended)["NumCLIP 0"]
        assert record["metrics"]["test_mae"] == pytest.approx(mae, abs=1e-4)
        assert record["select_on"] == "val"
        assert not list(run.parent.rglob("*.ckpt"))

    def test_a_finished_run_has_its_costs_and_its_machine(self, ended: Path) -> None:
        zero, numclip = (records(ended)[f"{name} 0"] for name in ("Zero", "NumCLIP"))
        assert numclip["trained_parameters"] > 0
        assert (zero["trained_parameters"], zero["processes"]) == (0, 2)
        assert zero["device"].startswith("NVIDIA" if torch.cuda.is_available() else "cpu")


@pytest.mark.slow
def test_a_benchmark_that_is_killed_goes_on_where_it_stopped(write: Write, tmp_path: Path) -> None:
    # The second run waits until it is killed, at the first call alone.
    slow = {"args": {"model": "support.benchmark_victim.Slow", "model.wait_for": str(tmp_path / "go")}}
    file = write({"Zero": ZERO_SHOT, "slow": slow})
    with numclip_process(["benchmark", "--config", str(file)]) as process:
        wait_until(lambda: "Zero 0" in records(tmp_path) and (tmp_path / "go.started").exists())
        process.kill()
    worker = int((tmp_path / "go.started").read_text(encoding="utf-8"))
    wait_until(lambda: not alive(worker))
    before = times(tmp_path)
    assert set(records(tmp_path)) == {"Zero 0"}

    (tmp_path / "go").touch()
    assert main(["benchmark", "--config", str(file), "--keep_checkpoints=true"]) == 0
    assert set(records(tmp_path)) == {"Zero 0", "slow 0"}
    (metrics,) = tmp_path.glob("runs/counting/slow/*/metrics.json")
    assert Path(metrics_of(metrics.parent)["best_checkpoint"]).is_file()
    assert {file: time for file, time in times(tmp_path).items() if file in before} == before


@pytest.mark.slow
def test_ctrl_c_ends_everything_and_leaves_no_failure(write: Write, tmp_path: Path) -> None:
    started = tmp_path / "started"
    stuck = {"args": {"model": "support.benchmark_victim.Stuck", "model.file": str(started), "data.num_workers": 1}}
    archive = tmp_path / "runs.tar.xz"
    config = write({"Zero": ZERO_SHOT, "stuck": stuck})
    with numclip_process(["benchmark", "--config", str(config), f"--archive={archive}"]) as process:
        wait_until(lambda: "Zero 0" in records(tmp_path) and started.exists())
        os.killpg(process.pid, signal.SIGINT)
        _, shown = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "stopped: 1 of 2 runs have finished; the same command goes on with the others" in shown
    assert "Traceback" not in shown
    run, *loaders = map(int, started.read_text(encoding="utf-8").split())
    assert loaders
    assert not alive(run)
    wait_until(lambda: not any(map(alive, loaders)))
    assert set(records(tmp_path)) == {"Zero 0"}
    assert unpack_runs(archive, tmp_path / "other") == 1


@pytest.mark.parametrize(
    ("visible", "slots"), [(None, ["0", "1", "0"]), ("", ["0", "1", "0"]), ("2,3", ["2", "3", "2"])]
)
def test_gpus_are_dealt_out_among_those_that_may_be_seen(
    visible: str | None, slots: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu_of(slot, 2) for slot in range(3)] == slots


def test_memory_is_that_of_the_device_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    # A GPU that this run leaves alone holds nothing.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 3 * 2**20)
    assert peak_memory(torch.device("cpu")) > 50
    assert peak_memory(torch.device("cuda", 0)) == 3


def alive(process: int) -> bool:
    try:
        os.kill(process, signal.SIGCONT)
    except ProcessLookupError:
        return False
    # A process that has ended and that nobody has asked for yet.
    status = Path(f"/proc/{process}/stat")
    return not (status.exists() and status.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z")


@pytest.fixture
def two_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[PlannedRun]:
    """Two runs of zero-shot CLIP, in the order of their seeds."""
    monkeypatch.chdir(REPOSITORY)
    counting = DatasetEntry(config="configs/counting.yaml", args=SMALL)
    methods = {"Zero": MethodEntry(config="configs/methods/zero_shot.yaml", trains=False)}
    root = str(tmp_path / "runs")
    return plan(Benchmark(title="", datasets={"counting": counting}, methods=methods, seeds=[0, 1], root=root))


CODE = CodeVersion("abc1234", {"torch": "2.14.0"})


def test_a_run_that_another_process_is_running_is_left_to_it(two_runs: list[PlannedRun]) -> None:
    first, second = two_runs
    first.folder.mkdir(parents=True)
    with FileLock(first.folder.with_name(f"{first.folder.name}.lock")):
        ended = dict(execute(two_runs, CODE, processes=1))
    assert ended[first] is None
    record = ended[second]
    assert record is not None
    assert (record["commit"], record["versions"]) == CODE
    assert not (first.folder / "result.json").exists()


def test_a_run_that_another_benchmark_has_finished_meanwhile_is_not_repeated(
    two_runs: list[PlannedRun], tmp_path: Path
) -> None:
    slow = execute(two_runs, CODE, processes=1)
    next(slow)
    (other,) = execute(two_runs[1:], CODE, processes=1)
    before = times(tmp_path)
    assert [run.seed for run, _ in slow] == [1]
    assert other[1] is not None
    assert times(tmp_path) == before
    assert len(before) == 2

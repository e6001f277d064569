"""Running a benchmark: a failed run hides no other, a finished run is not repeated, whatever is killed."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from filelock import FileLock

from numclip_lightning.cli import main
from numclip_lightning.runs.benchmark import Benchmark, DatasetEntry, MethodEntry
from numclip_lightning.runs.code import CodeVersion
from numclip_lightning.runs.plan import PlannedRun, plan
from numclip_lightning.runs.workers import execute, gpu_of, peak_memory
from support.command import failure, metrics_of, rows_of
from support.places import REPOSITORY

SMALL = {"data.num_train": 16, "data.num_val": 8, "data.num_test": 8, "data.num_workers": 0, "trainer.max_epochs": 1}
ZERO_SHOT = {"config": "configs/methods/zero_shot.yaml", "trains": False}

Write = Callable[..., Path]

# Seconds; a machine that others use starts a benchmark slowly.
_PATIENCE = 240


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


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a benchmark's configuration into the folder of the test."""
    monkeypatch.chdir(REPOSITORY)
    return partial(write_config, tmp_path)


def records(root: Path) -> dict[str, dict[str, Any]]:
    """Return what was kept of every run, by method and seed."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in root.glob("runs/counting/*/*/result.json")]
    return {f"{record['method']} {record['seed']}": record for record in found}


def times(root: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in root.glob("runs/counting/*/*/result.json")}


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
        assert main(["benchmark", "--config", str(write_config(folder, methods)), "--processes=2"]) == 1
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


def test_finished_runs_are_kept_and_failed_ones_repeated(write: Write, tmp_path: Path) -> None:
    missing = str(tmp_path / "clip")
    methods = {"Zero": ZERO_SHOT, "later": {**ZERO_SHOT, "args": {"model.backbone": f"local-dir:{missing}"}}}
    words = ["benchmark", "--config", str(write(methods))]
    assert main(words) == 1
    before = times(tmp_path)
    assert records(tmp_path)["later 0"]["status"] == "failed"
    mini = REPOSITORY / "src" / "numclip_lightning" / "models" / "mini"
    Path(missing).symlink_to(mini, target_is_directory=True)

    assert main(words) == 0
    after = times(tmp_path)
    assert after.keys() == before.keys()
    assert [file.parent.parent.name for file in after if after[file] == before[file]] == ["zero"]
    for only in (["--report_only=true"], ["--report_only", "true"]):
        assert main([*words, *only]) == 0
        assert times(tmp_path) == after
    report = (tmp_path / "runs" / "reports" / "try" / "report.md").read_text(encoding="utf-8")
    assert f"```sh\nnumclip {shlex.join(words)}\n```" in report, "what a reader repeats"


def test_a_page_takes_a_whole_report_or_what_there_is_if_asked(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("Words.\n<!-- report -->\nall of it\n<!-- end of report -->\n", encoding="utf-8")
    broken = {"args": {"data.num_train": 0}}
    words = ["benchmark", "--config", str(write({"Zero": ZERO_SHOT, "broken": broken})), "--page", str(page)]
    assert main(words) == 1
    assert "all of it" in page.read_text(encoding="utf-8")
    assert f"{page} is left as it is until all runs have finished" in capsys.readouterr().err
    assert main([*words, "--report_only=true"]) == 1
    text = page.read_text(encoding="utf-8")
    assert text.startswith("Words.\n")
    assert "1 of 2 runs failed" in text
    assert f"```sh\nnumclip {shlex.join(words[:3])}\n```" in text, "what a reader repeats, who has no such page"
    words = ["benchmark", "--config", str(write({"Zero": ZERO_SHOT})), f"--page={page}"]
    assert main(words) == 0
    assert "runs failed" not in page.read_text(encoding="utf-8")


def test_a_record_that_can_not_be_used_counts_as_failed_and_is_repeated(write: Write, tmp_path: Path) -> None:
    words = ["benchmark", "--config", str(write({"Zero": ZERO_SHOT}, seeds=[0, 1]))]
    assert main(words) == 0
    broken, robbed = sorted(times(tmp_path))
    broken.write_text("{", encoding="utf-8")
    (robbed.parent / "test_predictions.csv").unlink()
    before = times(tmp_path)
    report = tmp_path / "runs" / "reports" / "try" / "report.md"
    assert main([*words, "--report_only=true"]) == 1
    text = report.read_text(encoding="utf-8")
    assert "| counting | 2 | 0 | 2 | 0 |" in text
    assert "result.json can't be read" in text
    assert "test_predictions.csv is gone from" in text

    assert main(words) == 0
    after = times(tmp_path)
    assert not {file for file in after if after[file] == before[file]}
    assert "| counting | 2 | 2 | 0 | 0 |" in report.read_text(encoding="utf-8")


@contextmanager
def benchmark_process(config: Path) -> Iterator[subprocess.Popen[str]]:
    """A benchmark in a process, which ends with the test.

    It is in a group of its own, as a terminal sends Ctrl-C to all processes of a group; and it reacts to Ctrl-C even
    if the tests run in the background and don't.
    """
    command = [sys.executable, "-m", "numclip_lightning", "benchmark", "--config", str(config)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ignoring = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        signal.signal(signal.SIGINT, ignoring)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_a_benchmark_that_is_killed_goes_on_where_it_stopped(write: Write, tmp_path: Path) -> None:
    # The second run waits until it is killed, at the first call alone.
    slow = {"args": {"model": "support.benchmark_victim.Slow", "model.wait_for": str(tmp_path / "go")}}
    file = write({"Zero": ZERO_SHOT, "slow": slow})
    with benchmark_process(file) as process:
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


def test_ctrl_c_ends_everything_and_leaves_no_failure(write: Write, tmp_path: Path) -> None:
    started = tmp_path / "started"
    stuck = {"args": {"model": "support.benchmark_victim.Stuck", "model.file": str(started), "data.num_workers": 1}}
    with benchmark_process(write({"stuck": stuck})) as process:
        wait_until(started.exists)
        os.killpg(process.pid, signal.SIGINT)
        _, shown = process.communicate(timeout=_PATIENCE)
    assert process.returncode == 130
    assert "stopped: 0 of 1 runs have finished; the same command goes on with the others" in shown
    assert "Traceback" not in shown
    run, *loaders = map(int, started.read_text(encoding="utf-8").split())
    assert loaders
    assert not alive(run)
    wait_until(lambda: not any(map(alive, loaders)))
    assert not records(tmp_path)


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


def wait_until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not done():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


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


def test_without_any_dataset_nothing_is_run(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    away = {"config": "configs/counting.yaml", "needs": "nowhere"}
    assert main(["benchmark", "--config", str(write({"Zero": ZERO_SHOT}, datasets={"away": away}))]) == 2
    assert (
        "none of the datasets is here: away needs nowhere; fetch one, or correct its needs" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--compare_to=Zeor"], "compare_to is 'Zeor'; choose one of 'Zero'"),
        (["--metrics=[test_mea]"], "test_mea"),
        (["--procesess=2"], "procesess"),
        (["--proc=2"], "unrecognized arguments: --proc=2"),
        (["--seeds=[]"], "numclip: error: seeds is empty; name at least one."),
    ],
)
def test_a_wrong_word_is_refused_before_anything_runs(
    words: list[str], message: str, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failure("benchmark", "--config", str(write({"Zero": ZERO_SHOT})), *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) < 6, "not buried under the names of all flags"
    assert not (tmp_path / "runs").exists()


def test_a_dataset_that_is_not_here_is_named(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = {"config": "configs/counting.yaml", "args": SMALL}
    away = {**here, "needs": str(tmp_path / "nowhere")}
    file = write({"Zero": ZERO_SHOT}, datasets={"counting": here, "away": away})
    # Nothing is run, so that there is nothing to report.
    assert main(["benchmark", "--config", str(file), "--report_only=true"]) == 2
    assert f"away is left out: {tmp_path / 'nowhere'} is not here" in capsys.readouterr().err


def test_a_missing_package_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = ("numclip_lightning.commands.benchmark", "numclip_lightning.report")
    for name in [name for name in sys.modules if name.startswith(ours)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert main(["benchmark"]) == 2
    assert "needs pandas; install it with pip install 'numclip-lightning[benchmark]'" in capsys.readouterr().err

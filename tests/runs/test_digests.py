"""A run of a benchmark is found again by what it is, not by where or in which order its arguments were written."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from numclip_lightning.runs.benchmark import Benchmark
from numclip_lightning.runs.code import CodeVersion
from numclip_lightning.runs.entries import CrossEntry, DatasetEntry, MethodEntry
from numclip_lightning.runs.plan import plan
from numclip_lightning.runs.planned import PlannedRun
from numclip_lightning.runs.records import PREDICTIONS, has_finished, write_record

OPTIMIZER = {"model.optimizer": {"name": "SGD", "args": {}}}
ARGS: dict[str, Any] = {"data.side": 2, **OPTIMIZER, "trainer.fast": True}
Make = Callable[..., list[PlannedRun]]


@pytest.fixture
def runs_of(tmp_path: Path) -> Make:
    """Plan one method on one dataset, with arguments of all, of the dataset and of the method."""
    (tmp_path / "one.yaml").write_text("trainer: {max_epochs: 2}\n", encoding="utf-8")
    (tmp_path / "two.yaml").write_text("model: CoOp\n", encoding="utf-8")

    def _runs_of(
        args: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
        method: dict[str, Any] | None = None,
        tests: dict[str, CrossEntry] | None = None,
        overlay: str = "two.yaml",
        **changes: Any,
    ) -> list[PlannedRun]:
        return plan(
            Benchmark(
                title="try",
                datasets={"One": DatasetEntry(config=str(tmp_path / "one.yaml"), args=data or {}, tests=tests or {})},
                methods={"CoOp": MethodEntry(config=str(tmp_path / overlay), args=method or {}, trains=True)},
                args=args or {},
                root=str(tmp_path / "runs"),
                **{"seeds": [0], **changes},
            )
        )

    return _runs_of


def finish(run: PlannedRun) -> None:
    run.folder.mkdir(parents=True)
    (run.folder / PREDICTIONS).touch()
    write_record(run, CodeVersion(None, {}), {"status": "finished"})


@pytest.mark.parametrize(
    "moved",
    [
        {"data": ARGS},
        {"method": ARGS},
        {"args": {"trainer.fast": True}, "data": {"data.side": 2}, "method": OPTIMIZER},
        {"args": dict(reversed(ARGS.items()))},
        {"args": {**ARGS, "data.side": 7}, "method": {"data.side": 2}},
        {"args": {**ARGS, "model.optimizer": {"args": {}, "name": "SGD"}}},
        {"args": {"data": {"init_args": {"side": "2"}}, "trainer": {"fast": True}}, "data": OPTIMIZER},
    ],
    ids=["to the dataset", "to the method", "to all three", "reversed", "overridden", "within a value", "as a tree"],
)
def test_a_finished_run_stays_finished_where_its_arguments_move(moved: dict[str, Any], runs_of: Make) -> None:
    (run,) = runs_of(ARGS)
    finish(run)
    (again,) = runs_of(**moved)
    assert has_finished(again)
    assert not has_finished(*runs_of({**ARGS, "data.side": 3}))
    assert not has_finished(*runs_of({**ARGS, "data.sides": 2}))
    assert not has_finished(*runs_of(ARGS, seeds=[1]))


def test_the_order_counts_where_one_argument_holds_another(runs_of: Make) -> None:
    name, whole = {"model.optimizer.name": "RAdam"}, {"model.optimizer": {"name": "SGD", "args": {}}}
    rate = {"trainer.fast": True}
    (name_last,), (whole_last,) = runs_of({**whole, **name}), runs_of({**name, **whole})
    assert name_last.folder != whole_last.folder
    same = [*runs_of({**rate, **whole, **name}), *runs_of({**whole, **rate, **name}), *runs_of({**whole, **name}, rate)]
    assert len({run.folder for run in same}) == 1


def test_the_nearest_argument_wins_over_one_that_holds_it(runs_of: Make) -> None:
    """A method's name of the optimiser came before the dataset's whole optimiser, and was lost."""
    whole = {"name": "Adam", "args": {}}
    (run,) = runs_of({"model.optimizer.name": "SGD"}, {"model.optimizer": whole}, {"model.optimizer.name": "RAdam"})
    assert [word for word in run.words if "optimizer" in word] == [
        f"--model.optimizer={json.dumps(whole)}",
        "--model.optimizer.name=RAdam",
    ]


def test_a_run_is_the_same_whatever_its_files_are_called(runs_of: Make, tmp_path: Path) -> None:
    (run,) = runs_of(ARGS)
    (tmp_path / "other.yaml").write_text("model: CoOp  # the same\n", encoding="utf-8")
    (tmp_path / "changed.yaml").write_text("model: CoCoOp\n", encoding="utf-8")
    assert [again.folder for again in runs_of(ARGS, overlay="other.yaml")] == [run.folder]
    assert [again.folder for again in runs_of(ARGS, overlay="changed.yaml")] != [run.folder]


def digest_of_0_2_0(words: list[str], *contents: Any) -> str:
    return hashlib.sha256(json.dumps([words, contents], sort_keys=True).encode()).hexdigest()[:8]


def test_folders_of_version_0_2_0_are_found_again(runs_of: Make, tmp_path: Path) -> None:
    tests = {"Other": CrossEntry(args={"data.test_file": "x.csv", "data.root": "y"})}
    (new,) = runs_of(ARGS, tests=tests)
    words = [
        *("fit", "--test_after_fit=true", f"--config={tmp_path}/one.yaml", f"--config={tmp_path}/two.yaml"),
        *("--data.side=2", '--model.optimizer={"name": "SGD", "args": {}}', "--trainer.fast=true"),
        *("--data.num_shots=0", "--data.seed=0", "--seed_everything=0"),
    ]
    digest = digest_of_0_2_0(words, {"trainer": {"max_epochs": 2}}, {"model": "CoOp"})
    old = tmp_path / "runs" / "one" / "coop" / f"fold0-shots0-seed0-{digest}"
    test = old / "tests" / f"other-{digest_of_0_2_0(['--data.test_file=x.csv', '--data.root=y'])}"
    test.mkdir(parents=True)
    (again,) = runs_of(ARGS, tests=tests)
    assert again.folder == old != new.folder
    assert [found.folder for found in again.tests] == [test]
    new.folder.mkdir(parents=True)
    assert [found.folder for found in runs_of(ARGS, tests=tests)] == [new.folder]

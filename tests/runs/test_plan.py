"""From a benchmark's configuration to its runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from numclip_lightning.errors import ConfigError
from numclip_lightning.runs.benchmark import Benchmark
from numclip_lightning.runs.entries import CrossEntry, DatasetEntry, MeanEntry, MethodEntry
from numclip_lightning.runs.plan import plan
from support.places import REPOSITORY

RATES = ("image_encoder", "adapter", "context", "phrases", "head", "text_encoder", "logit_scale")


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Benchmark]:
    """Make a benchmark of two datasets and three methods, one of which learns nothing."""
    (tmp_path / "one.yaml").write_text("trainer: {max_epochs: 2}  # a comment\n", encoding="utf-8")
    (tmp_path / "two.yaml").write_text("trainer: {max_epochs: 3}\n", encoding="utf-8")
    (tmp_path / "coop.yaml").write_text("model: CoOp\n", encoding="utf-8")

    def _make(**changes: Any) -> Benchmark:
        arguments: dict[str, Any] = {
            "title": "try",
            "datasets": {
                "One": DatasetEntry(config=str(tmp_path / "one.yaml"), args={"data.side": 4}),
                "Two": DatasetEntry(config=str(tmp_path / "two.yaml")),
            },
            "methods": {
                "Zero": MethodEntry(trains=False),
                "CoOp, tuned": MethodEntry(config=str(tmp_path / "coop.yaml"), args={"model.rates": {"context": 0.1}}),
                "NumCLIP": MethodEntry(),
            },
            "seeds": [3, 5],
            "shots": [0, 4],
            "args": {"data.side": 2, "trainer.fast": True},
            "root": str(tmp_path / "runs"),
        }
        return Benchmark(**{**arguments, **changes})

    return _make


def test_every_combination_is_planned_once_seed_by_seed(make: Callable[..., Benchmark]) -> None:
    runs = plan(make(folds=[0, 1, 2]))
    keys = [(run.dataset, run.method, run.fold, run.shots, run.seed) for run in runs]
    expected = {
        (dataset, method, fold, shots, seed)
        for dataset in ("One", "Two")
        for method in ("Zero", "CoOp, tuned", "NumCLIP")
        for fold in (0, 1, 2)
        for shots in ((0,) if method == "Zero" else (0, 4))
        for seed in (3, 5)
    }
    assert set(keys) == expected
    assert len(keys) == len(expected)
    assert [seed for *_, seed in keys] == [3] * (len(keys) // 2) + [5] * (len(keys) // 2)
    assert len({run.folder for run in runs}) == len(runs)


def test_words_are_those_of_the_command_line_and_the_nearer_ones_win(make: Callable[..., Benchmark]) -> None:
    one = {(run.dataset, run.method, run.shots): run.words for run in plan(make(seeds=[3]))}
    learned = one["One", "CoOp, tuned", 4]
    assert learned[:2] == ("fit", "--test_after_fit=true")
    assert [word.rpartition("/")[2] for word in learned if word.startswith("--config=")] == ["one.yaml", "coop.yaml"]
    assert set(learned[4:]) == {
        "--data.side=4",
        "--trainer.fast=true",
        '--model.rates={"context": 0.1}',
        "--data.num_shots=4",
        "--data.seed=3",
        "--seed_everything=3",
    }
    assert "--data.side=2" in one["Two", "NumCLIP", 0]
    assert one["Two", "Zero", 0][0] == "test"
    assert not [word for word in one["Two", "Zero", 0] if "shots" in word or "test_after" in word]
    assert not [word for words in one.values() for word in words if "fold" in word]


def test_arguments_may_be_a_tree_as_flags_make_it(make: Callable[..., Benchmark]) -> None:
    flat = make(args={"trainer.max_epochs": 1, "model.optimizer": {"name": "SGD"}, "data.side": 2})
    tree = make(args={"trainer.max_epochs": 7, "trainer": {"max_epochs": "1"}, "model": {"optimizer": {"name": "SGD"}}})
    for one, other in zip(plan(flat), plan(tree), strict=True):
        assert "--trainer.max_epochs=1" in one.words
        assert '--model.optimizer={"name": "SGD"}' in one.words
        assert {"--trainer.max_epochs=1", "--model.optimizer.name=SGD"} < set(other.words)


def test_a_run_is_found_again_until_something_about_it_changes(make: Callable[..., Benchmark], tmp_path: Path) -> None:
    def folders(**changes: Any) -> list[Path]:
        return [run.folder for run in plan(make(**changes))]

    before = folders()
    assert folders(processes=2, title="other", compare_to="NumCLIP") == before
    (tmp_path / "one.yaml").write_text("# another comment\ntrainer:\n  max_epochs: 2\n", encoding="utf-8")
    assert folders() == before
    (tmp_path / "one.yaml").write_text("trainer: {max_epochs: 9}\n", encoding="utf-8")
    changed = [old != new for old, new in zip(before, folders(), strict=True)]
    assert changed == [run.dataset == "One" for run in plan(make())]
    assert not set(folders(args={"data.side": 7})) & {run.folder for run in plan(make()) if run.dataset == "Two"}


def test_a_run_is_a_new_one_where_the_file_of_its_own_method_has_changed(
    make: Callable[..., Benchmark], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "coop.yaml").write_text("model: {class_path: own_method.Own}\n", encoding="utf-8")
    folders = []
    for source in ("one = 1\n", "one = 1\n", "one = 2\n"):
        (tmp_path / "own_method.py").write_text(source, encoding="utf-8")
        folders.append([run.folder for run in plan(make())])
    first, same, changed = folders
    assert same == first
    moved = [run.method for run, folder in zip(plan(make()), first, strict=True) if run.folder != folder]
    assert set(moved) == {"CoOp, tuned"}
    assert len(set(changed) - set(first)) == len(moved)


def test_a_dataset_may_have_folds_of_its_own_or_none(make: Callable[..., Benchmark], tmp_path: Path) -> None:
    config = str(tmp_path / "one.yaml")
    datasets = {
        "shared": DatasetEntry(config=config),
        "own": DatasetEntry(config=config, folds=[2, 5]),
        "none": DatasetEntry(config=config, folds=[]),
    }
    runs = plan(make(datasets=datasets, folds=[0, 1, 2], seeds=[0], shots=[0], methods={"A": MethodEntry()}))
    folds = [(run.dataset, run.fold) for run in runs]
    assert folds == [("shared", 0), ("shared", 1), ("shared", 2), ("own", 2), ("own", 5), ("none", 0)]
    asked = [[word for word in run.words if word.startswith("--data.fold")] for run in runs]
    assert asked == [["--data.fold=0"], ["--data.fold=1"], ["--data.fold=2"], ["--data.fold=2"], ["--data.fold=5"], []]


def test_a_dataset_that_is_not_here_is_left_out(make: Callable[..., Benchmark], tmp_path: Path) -> None:
    there = DatasetEntry(config=str(tmp_path / "one.yaml"), needs=str(tmp_path / "two.yaml"))
    away = DatasetEntry(config=str(tmp_path / "one.yaml"), needs=str(tmp_path / "nowhere"))
    assert {run.dataset for run in plan(make(datasets={"there": there, "away": away}))} == {"there"}


class TestOverlays:
    @pytest.fixture
    def overlays(self, tmp_path: Path) -> Path:
        """A folder of two overlays with names and one without."""
        folder = tmp_path / "methods"
        folder.mkdir()
        for file, first in (("b", "# Overlay: Beta, tuned: better."), ("a", "# Overlay: Alpha: good."), ("c", "# new")):
            (folder / f"{file}.yaml").write_text(f"{first}\nmodel: CoOp\n", encoding="utf-8")
        return folder

    def test_each_file_is_a_method_by_the_name_in_its_first_line(
        self, make: Callable[..., Benchmark], overlays: Path
    ) -> None:
        benchmark = make(methods={"NumCLIP": MethodEntry()}, overlays=f"{overlays}/*.yaml")
        assert list(dict.fromkeys(run.method for run in plan(benchmark))) == ["NumCLIP", "Alpha", "Beta, tuned", "c"]

    def test_a_new_file_is_planned_by_itself(self, make: Callable[..., Benchmark], overlays: Path) -> None:
        def runs() -> set[Path]:
            return {run.folder for run in plan(make(overlays=f"{overlays}/*.yaml"))}

        before = runs()
        (overlays / "new.yaml").write_text("# Overlay: New: newer.\nmodel: CoOp\n", encoding="utf-8")
        assert {folder.parent.name for folder in runs() - before} == {"new"}
        assert runs() > before

    def test_a_file_that_an_entry_has_is_not_included_again(
        self, make: Callable[..., Benchmark], overlays: Path
    ) -> None:
        own = MethodEntry(config=str(overlays / "a.yaml"), args={"model.names": "numbers"})
        benchmark = make(methods={"Own": own}, overlays=f"{overlays}/*.yaml")
        assert list(benchmark.methods) == ["Own", "Beta, tuned", "c"]
        assert benchmark.methods["Own"] == own

    def test_two_methods_of_one_name_are_refused(self, make: Callable[..., Benchmark], overlays: Path) -> None:
        with pytest.raises(ConfigError, match=r"a\.yaml' has the name of another method, 'Alpha'; rename one"):
            make(methods={"Alpha": MethodEntry()}, overlays=f"{overlays}/*.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": {}}, "methods is empty"),
        ({"seeds": []}, "seeds is empty"),
        ({"shots": [4, 4]}, r"shots is \[4, 4\]; give different numbers"),
        ({"folds": [-1]}, r"folds is \[-1\]"),
        ({"processes": 0}, "processes is 0; give 1 or more"),
        ({"args": {"trainer.devices": 2}}, "args: trainer.devices is set for each run; give processes instead"),
        ({"args": {"data.num_shots": 4}}, "args: data.num_shots is set for each run; give shots instead"),
        ({"args": {"data": {"num_shots": "4"}}}, "args: data.num_shots is set for each run; give shots instead"),
        ({"args": {"trainer": {"devices": 2}}}, "args: trainer.devices is set for each run; give processes"),
        ({"args": {"data.init_args": {"seed": 1}}}, "args: data.seed is set for each run; give seeds instead"),
        (
            {"methods": {"A": MethodEntry(args={"seed_everything": 4})}},
            "args of 'A': seed_everything is set .* give seeds",
        ),
        (
            {"datasets": {"D": DatasetEntry(config="", args={"data.fold": 4})}},
            "args of 'D': data.fold is set .* give folds",
        ),
        (
            {"datasets": {"D": DatasetEntry(config="", folds=[2, 2])}},
            r"folds of 'D' is \[2, 2\]; give different numbers",
        ),
        ({"methods": {"A b": MethodEntry(), "a-B": MethodEntry()}}, "'A b' and 'One' with 'a-B' differ in no letter"),
        ({"means": {"One": MeanEntry(of=["One", "Two"])}}, "means has 'One', the name of a dataset; rename one"),
        ({"means": {"M": MeanEntry(of=["One"])}}, r"the mean 'M' is of \['One'\]; name two different datasets or more"),
        ({"means": {"M": MeanEntry(of=["One", "One"])}}, "the mean 'M' is of .*; name two different datasets"),
        ({"means": {"M": MeanEntry(of=["One", "Tow"])}}, "of in the mean 'M' is 'Tow'; choose one of 'One', 'Two'"),
        (
            {
                "datasets": {"D": DatasetEntry(config="", folds=[0]), "E": DatasetEntry(config="", folds=[1])},
                "means": {"M": MeanEntry(of=["D", "E"])},
            },
            "the datasets of the mean 'M' have different folds; give them the same",
        ),
        ({"overlays": "nowhere/*.yaml"}, r"overlays is 'nowhere/\*.yaml', which no file matches; give a pattern"),
        ({"datasets": {"gone": DatasetEntry(config="nowhere.yaml")}}, "'nowhere.yaml' can't be read: No such file"),
    ],
)
def test_a_wrong_benchmark_is_refused(changes: dict[str, Any], message: str, make: Callable[..., Benchmark]) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(make(**changes))


def test_a_file_that_is_no_yaml_is_named(make: Callable[..., Benchmark], tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [1", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.yaml' is no YAML"):
        plan(make(datasets={"bad": DatasetEntry(config=str(tmp_path / "bad.yaml"))}))


def test_a_method_that_learns_nothing_is_found_by_itself(make: Callable[..., Benchmark]) -> None:
    zero, probe = (str(REPOSITORY / "configs" / "methods" / f"{name}.yaml") for name in ("zero_shot", "linear_probe"))
    methods = {
        "Zero": MethodEntry(config=zero),
        "Zero, asked": MethodEntry(config=zero, trains=True),
        "Probe": MethodEntry(config=probe),
        "Own": MethodEntry(),
        "Frozen": MethodEntry(args={"model.learning_rates": dict.fromkeys(RATES, 0)}),
        "Broken": MethodEntry(args={"model.class_path": "nowhere.Method"}),
    }
    datasets = {"One": DatasetEntry(config=str(REPOSITORY / "configs" / "counting.yaml"))}
    runs = plan(make(datasets=datasets, methods=methods, seeds=[0], shots=[0], args={}))
    expected = {"Zero": False, "Zero, asked": True, "Probe": True, "Own": True, "Frozen": False, "Broken": True}
    assert {run.method: run.trains for run in runs} == expected
    assert {run.method for run in runs if run.words[0] == "test"} == {"Zero", "Frozen"}


def test_tests_on_other_images_leave_a_run_as_it_is(make: Callable[..., Benchmark], tmp_path: Path) -> None:
    one = str(tmp_path / "one.yaml")
    alone = plan(make(datasets={"One": DatasetEntry(config=one)}))
    tests = {"Other": CrossEntry(args={"data.test_file": "x.csv"}), "Away": CrossEntry(config=one, needs="nowhere")}
    runs = plan(make(datasets={"One": DatasetEntry(config=one, tests=tests)}))
    assert [run.folder for run in runs] == [run.folder for run in alone]
    for run in runs:
        (test,) = run.tests
        assert test.words == ("test", f"--config={test.folder}/given.yaml", "--data.test_file=x.csv")
        assert test.entry == {**run.entry, "tested_on": "Other"}
        assert test.folder.parents[1] == run.folder
    assert len({test.folder for run in runs for test in run.tests}) == len(runs)


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ({"Other": CrossEntry()}, "'Other' has neither config nor args"),
        ({"One": CrossEntry(config="x.yaml")}, "'One' is the dataset itself"),
        ({"Other": CrossEntry(args={"data.seed": 1})}, "data.seed is set for each run; give seeds instead"),
    ],
)
def test_wrong_tests_are_refused(make: Callable[..., Benchmark], tests: dict[str, CrossEntry], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(datasets={"One": DatasetEntry(config="one.yaml", tests=tests)})

"""The benchmarks under configs/benchmarks: the small one runs, and none lacks a method."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from numclip_lightning.cli import main
from numclip_lightning.commands.benchmark_words import parse
from numclip_lightning.data import ShanghaiTechDataModule
from numclip_lightning.errors import ConfigError
from numclip_lightning.report.published import published_figures
from numclip_lightning.runs.benchmark import Benchmark
from numclip_lightning.runs.command import NumClipCLI
from numclip_lightning.runs.plan import plan, plan_trials
from numclip_lightning.runs.planned_mistakes import refuse_planned_mistakes
from numclip_lightning.scale import OrdinalScale
from support.fake_data import make_historical
from support.places import REPOSITORY

BENCHMARKS = sorted(file.stem for file in (REPOSITORY / "configs" / "benchmarks").glob("*.yaml"))
OVERLAYS = {file.relative_to(REPOSITORY).as_posix() for file in (REPOSITORY / "configs" / "methods").glob("*.yaml")}


def load(name: str) -> Any:
    return yaml.safe_load((REPOSITORY / "configs" / "benchmarks" / f"{name}.yaml").read_text(encoding="utf-8"))


def load_overlay(name: str) -> Any:
    text = (REPOSITORY / "configs" / "methods" / f"{name}.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["model"]["init_args"]


def chosen(name: str) -> Benchmark:
    return parse([f"--config={REPOSITORY / 'configs' / 'benchmarks' / name}.yaml"])[0]


@pytest.mark.parametrize("name", ["smoke", "collection", "papers", "fewshot"])
def test_every_method_is_in(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    configs = [entry.config for entry in chosen(name).methods.values()]
    # The configurations' own method is NumCLIP.
    assert set(configs) == {*OVERLAYS, None}


def test_an_optimiser_of_another_class_leaves_no_arguments_of_the_overlays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    whole = chosen("collection")
    coop = whole.methods["CoOp"]
    # Momentum is for the overlay's SGD; the entry's RAdam has no arguments.
    assert (coop.args["model.optimizer"], load_overlay("coop")["optimizer"]["name"]) == (
        {"name": "RAdam", "args": {}},
        "SGD",
    )
    counting = {"counting": whole.datasets["counting"]}
    small = replace(whole, datasets=counting, ensembles={}, means={}, compare_to=None, overlays=None)
    refuse_planned_mistakes(plan(replace(small, methods={"CoOp": coop})))
    wrong = replace(coop, args={**coop.args, "model.optimizer.args.momentum": 0.9})
    with pytest.raises(ConfigError, match="RAdam takes no 'momentum'"):
        refuse_planned_mistakes(plan(replace(small, methods={"CoOp": wrong})))


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_no_run_or_trial_has_a_mistake(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    whole = chosen(name)
    runs = [*plan_trials(whole), *plan(whole)]
    assert runs or all(entry.needs and not (REPOSITORY / entry.needs).exists() for entry in whole.datasets.values())
    refuse_planned_mistakes(runs)


def test_every_overlay_has_its_name_in_its_first_line() -> None:
    for file in OVERLAYS:
        first = (REPOSITORY / file).read_text(encoding="utf-8").splitlines()[0]
        assert re.match(r"# Overlay: [^:]+: \S", first), file


def test_what_two_benchmarks_share_is_the_same_run() -> None:
    evidence, collection = load("evidence"), load("collection")
    assert [evidence[part] for part in ("args", "datasets")] == [collection[part] for part in ("args", "datasets")]
    # CoOp's rate was searched for the collection, after the evidence was there.
    shared = (evidence["methods"].keys() & collection["methods"].keys()) - {"CoOp"}
    assert {"CoOp, image tower tuned", "OrdinalCLIP", "NumCLIP"} <= shared
    assert {name: evidence["methods"][name] for name in shared} == {
        name: collection["methods"][name] for name in shared
    }


def test_the_rates_that_were_tried_are_those_that_are_compared() -> None:
    rates, collection = load("rates"), load("collection")
    for part in ("args", "datasets"):
        assert rates[part] == collection[part]
    assert not set(rates["seeds"]) & set(collection["seeds"])
    tried: dict[str, list[Any]] = {}
    for name, entry in rates["methods"].items():
        tried.setdefault(name.rpartition(", ")[0], []).append(entry)
    assert len(tried) == 11
    assert all(collection["methods"][name] in entries for name, entries in tried.items())


def test_all_that_has_rates_is_tuned_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new overlay joins the comparison by itself, but only its trials make it a fair row."""
    monkeypatch.chdir(REPOSITORY)
    tuned = chosen("tuned").methods
    untuned = {name for name, entry in tuned.items() if len(entry.trials) != 2}
    solved = {name for name in untuned if tuned[name].args.get("trainer.max_epochs") == 1}
    assert solved == {"GDA", "Tip-Adapter", "CapS-Adapter", "Linear probe", "Linear probe, all looks", "Rank axis"}
    # Without training, the recipe itself, and what reads zero-shot CLIP's number at any rate.
    assert untuned - solved == {"Zero-shot, phrases", "CLIP-IQA", "NumCLIP+", "NumCLIP+, one look", "CLIPN"}


def test_few_shots_are_tuned_as_all_images_are_but_for_what_the_overlay_says() -> None:
    tuned, few = load("tuned"), load("overlays/few_shots")
    assert few["shots"] == [4]
    assert few["args"] == {**tuned["args"], "early_stopping": {"patience": None}}
    counting = few["datasets"]["counting"]
    assert counting["args"].pop("data.num_val") == 300
    assert few["datasets"] == tuned["datasets"]


def test_lengths_are_tried_with_what_is_tuned_alike() -> None:
    tuned, length = load("tuned"), load("length")
    args = tuned["args"]
    assert length["args"] == {
        **args, "length": {**args["length"], "steps": 2 * args["length"]["steps"]}, "early_stopping": {"patience": None}
    }  # fmt: skip
    for name, row in length["methods"].items():
        alike = dict(tuned["methods"][name])
        rates = list(alike.pop("trials", {}).values())
        trials = list(row.pop("trials", {}).values())
        assert row == alike
        # Each rate at both lengths.
        assert trials == rates + [{**one, "length.steps": args["length"]["steps"]} for one in rates]


# All but the smallest are slow: hundreds of command lines each.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "smoke" else pytest.mark.slow) for name in BENCHMARKS]
)
def test_every_dataset_and_method_has_runs_that_parse(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    # Parsed against every type, with nothing built: neither the images nor the weights are here.
    monkeypatch.setattr(NumClipCLI, "instantiate_classes", lambda _: None)
    monkeypatch.setattr(NumClipCLI, "_run_subcommand", lambda *_: None)
    benchmark = chosen(name)
    here = {dataset: replace(entry, needs=None) for dataset, entry in benchmark.datasets.items()}
    runs = plan(replace(benchmark, datasets=here))
    assert {run.dataset for run in runs} == set(benchmark.datasets)
    assert {run.method for run in runs} == set(benchmark.methods)
    # test_configs.py parses each configuration and overlay without arguments; of arguments that differ in numbers, one
    # is enough.
    methods = {(entry.config, *sorted(entry.args)): name for name, entry in benchmark.methods.items() if entry.args}
    datasets = {(entry.config, *sorted(entry.args)): name for name, entry in benchmark.datasets.items() if entry.args}
    by_dataset, by_method = {run.dataset: run for run in runs}, {run.method: run for run in runs}
    trials = {trial.method: trial for trial in plan_trials(replace(benchmark, datasets=here))}
    tried = {by_dataset[name] for name in datasets.values()} or {runs[0]}
    for run in {*tried, *(by_method[name] for name in methods.values()), *trials.values()}:
        assert main(run.words) == 0, run


def test_the_papers_protocols_have_their_folds_and_figures() -> None:
    papers = load("papers")
    folds = {name: len(entry.get("folds", [0])) for name, entry in papers["datasets"].items()}
    assert {name: folds[name] for name in ("Adience", "Historical Color Images")} == {
        "Adience": 5,
        "Historical Color Images": 10,
    }
    assert [folds[f"MORPH II, {setting}"] for setting in ("ET", "A", "B", "C", "D")] == [1, 5, 3, 5, 5]
    # 0.23 points are the mean over four categories, which is compared with no single category.
    assert "published" not in {key for name, entry in papers["datasets"].items() if "Aesth" in name for key in entry}
    assert len(papers["means"]["Image Aesthetics"]["of"]) == 4
    known = [*papers["datasets"].values(), *papers["means"].values()]
    figures = [figure for entry in known if "published" in entry for figure in published_figures(entry["published"])]
    assert {(figure.metric, figure.value) for figure in figures if figure.method == "NumCLIP"} == {
        ("test_mae", 2.08), ("test_acc", 0.6961), ("test_mae", 0.23), ("test_acc", 0.7653), ("test_mae", 40.01),
    }  # fmt: skip
    settings = {name: entry["published"] for name, entry in papers["datasets"].items() if name.startswith("MORPH")}
    assert settings == {"MORPH II, ET": "morph", **{f"MORPH II, {x}": f"morph-{x.lower()}" for x in "ABCD"}}
    assert len(figures) == 88
    by_benchmark = {name: entry for name, entry in papers["datasets"].items() if name.startswith("CVPR 2024")}
    assert [len(entry.get("folds", [0])) for entry in by_benchmark.values()] == [5, 5, 1, 1, 5, 5]


def test_crowds_lose_nobody_and_blocks_know_where_they_are() -> None:
    config = yaml.safe_load((REPOSITORY / "configs" / "shanghaitech.yaml").read_text(encoding="utf-8"))
    for part, (fewest, most) in {"A": (33, 3139), "B": (9, 578)}.items():
        args = load("papers")["datasets"][f"ShanghaiTech, {part}"]["args"]
        data = {name.removeprefix("data."): value for name, value in args.items() if name.startswith("data.")}
        module = ShanghaiTechDataModule(**{**config["data"]["init_args"], **data})
        assert (module.part, module.preprocess, module.places) == (part, "whole", True)
        own = {name.rpartition(".")[2]: value for name, value in args.items() if name.startswith("model.scale.")}
        scale = OrdinalScale(**{**config["model"]["init_args"]["scale"], **own})
        assert scale.minimum <= fewest < most <= scale.maximum
        assert scale.lower[-1] < most


@pytest.mark.parametrize("name", BENCHMARKS)
def test_no_file_overwrites_a_page_unasked(name: str) -> None:
    assert "page" not in load(name)


def test_few_shots_are_of_the_methods_of_the_papers() -> None:
    assert [load("fewshot")[part] for part in ("overlays", "methods")] == [
        load("papers")[part] for part in ("overlays", "methods")
    ]
    assert load("fewshot")["shots"] == [1, 2, 4, 8, 16, 32, 64]


@pytest.mark.slow
def test_folds_and_shots_of_published_lists_become_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    make_historical(tmp_path / "data", per_decade=12)
    papers = load("papers")
    historical = papers["datasets"]["Historical Color Images"]
    args = {
        "data.root": str(tmp_path / "data"), "data.image_size": 64, "data.num_workers": 0, "trainer.max_epochs": 1,
        "model.backbone": "mini", "model.pretrained": "auto",
    }  # fmt: skip
    config = {
        "title": "Try", "seeds": [0], "shots": [0, 2], "args": args, "methods": {"NumCLIP": {}},
        "datasets": {"HCI": {**historical, "folds": [0, 1], "needs": str(tmp_path / "data")}},
        "root": str(tmp_path / "runs"), "processes": 2,
    }  # fmt: skip
    (tmp_path / "hci.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text("Words.\n\n<!-- report -->\n<!-- end of report -->\n", encoding="utf-8")
    assert main(["benchmark", f"--config={tmp_path / 'hci.yaml'}", f"--page={page}"]) == 0

    records = [json.loads(file.read_text(encoding="utf-8")) for file in tmp_path.glob("runs/hci/*/*/result.json")]
    assert sorted((record["fold"], record["shots"]) for record in records) == [(0, 0), (0, 2), (1, 0), (1, 2)]
    text = page.read_text(encoding="utf-8")
    assert text.startswith("Words.")
    assert "| Method | 2 shots | all images | Published |" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| NumCLIP") and line.endswith("| 69.61 |")]
    accuracies = [100 * record["metrics"]["test_acc"] for record in records if record["shots"] == 2]
    assert f"{sum(accuracies) / 2:.2f} ± " in row
    assert (tmp_path / "page" / "HCI-test_acc.png").is_file()


@pytest.mark.slow
def test_smoke_runs_every_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert main(["benchmark", "--config=configs/benchmarks/smoke.yaml", f"--root={tmp_path}"]) == 0
    records = [json.loads(file.read_text(encoding="utf-8")) for file in tmp_path.glob("counting/*/*/result.json")]
    assert {record["method"] for record in records} == set(chosen("smoke").methods)
    assert all(math.isfinite(record["metrics"]["test_mae"]) for record in records)
    report = (tmp_path / "reports" / "smoke" / "report.md").read_text(encoding="utf-8")
    assert all(record["method"] in report for record in records)

"""The report of a benchmark: every file is there, every link leads somewhere, and nothing that failed is hidden."""

import re
from pathlib import Path

import pandas as pd
import pytest

from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.report.report import Request, write_report
from support.benchmark_runs import Entry, make_plan, write_all, write_failure, write_run

COMMAND = "numclip benchmark --config configs/benchmarks/x.yaml"


def metrics(run: Entry) -> dict[str, float]:
    place = {"A": 1.0, "B": 2.0, "Z": 9.0}[run["method"]]
    return {"test_mae": place + 0.01 * run["seed"] * place, "test_acc": 1 / (1 + place), "val_mae": 1.0}


@pytest.fixture(scope="module")
def plan() -> list[Entry]:
    return make_plan(["A", "B", "Z"], datasets=["counting", "faces mini"], learn_nothing=["Z"])


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, plan: list[Entry]) -> Path:
    """The folder of a report on all runs but for one that failed, one that wasn't run, and one that diverged."""
    folder = tmp_path_factory.mktemp("benchmark")
    records = write_all(folder / "runs", plan[3:], metrics)
    records.append(write_failure(folder / "runs", plan[0], "DataError: `a` | b"))
    diverged = {"test_mae": float("nan"), "test_acc": 0.1}
    records.append(write_run(folder / "runs", plan[1], diverged, commit="def5678"))
    request = Request("A title", COMMAND, compare_to="B", published={"faces mini": "morph"})
    assert write_report(plan, records, folder / "report", request) == folder / "report" / "report.md"
    return folder / "report"


@pytest.fixture
def page(report: Path) -> str:
    return (report / "report.md").read_text(encoding="utf-8")


class TestPage:
    def test_it_begins_with_what_ran(self, page: str) -> None:
        assert page.startswith(f"# A title\n\nMade by\n\n```sh\n{COMMAND}\n```\n\n## What ran\n")
        assert "| counting | 15 | 13 | 1 | 1 |\n| faces mini | 15 | 15 | 0 | 0 |\n| All | 30 | 28 | 1 | 1 |" in page
        assert (
            "Commits abc1234, def5678; torch 2.14.0. The runs were made by different code: compare with care." in page
        )

    def test_failures_are_named_with_their_folder(self, page: str, report: Path) -> None:
        line = "- counting, A, fold 0, 4 shots, seed 0: `` DataError: `a` | b `` (`../runs/counting-A-0-4-0`)"
        assert f"1 of 30 runs failed:\n\n{line}\n" in page
        assert (report / "../runs/counting-A-0-4-0").is_dir()
        assert "- counting, A, fold 0, all images, seed 0: test_mae is nan (`../runs/counting-A-0-0-0`)" in page

    def test_every_link_leads_to_a_picture(self, page: str, report: Path) -> None:
        links = re.findall(r"!\[[^]]*\]\(([^)]*)\)", page)
        assert len(links) == 8
        assert all((report / link).read_bytes().startswith(b"\x89PNG") for link in links)

    def test_tests_and_published_figures(self, page: str) -> None:
        assert "It assumes that the differences are independent and normally distributed." in page
        assert "Three runs have little power" in page
        assert "Against B, 4 of 4 comparisons tested, corrected p < 0.05: better: A (4 shots), A (all images); " in page
        counting, faces = page.split("## faces mini")
        assert "| Method | 4 shots | all images | Published |" in faces
        assert "| NumCLIP |  |  | 2.08 ± 0.02 |" in faces
        assert "Published" not in counting

    def test_every_table_is_there_in_three_kinds(self, page: str, report: Path) -> None:
        folder = report / "tables"
        for stem in ("counting-test_mae", "counting-test_acc", "faces-mini-test_mae", "faces-mini-test_acc"):
            assert (folder / f"{stem}.md").read_text(encoding="utf-8").strip() in page
            assert r"\begin{tabular}{lrr" in (folder / f"{stem}.tex").read_text(encoding="utf-8")
            assert set(pd.read_csv(folder / f"{stem}.csv")["method"]) >= {"A", "B", "Z"}
            assert len(pd.read_csv(folder / f"{stem}-tests.csv")) == 4
        for stem in ("counting", "faces-mini"):
            assert pd.read_csv(folder / f"{stem}-costs.csv")["seconds"].notna().all()
            assert set(pd.read_csv(folder / f"{stem}-error-by-value.csv")["low"]) == {1.0, 2.0}
        assert page.count("### Costs") == 2

    def test_results_are_the_same_as_csv_and_parquet(self, report: Path) -> None:
        from_csv = pd.read_csv(report / "results.csv")
        parquet = pd.read_parquet(report / "results.parquet")
        assert list(parquet.columns) == list(from_csv.columns)
        pd.testing.assert_frame_equal(from_csv, parquet, check_dtype=False)
        runs = parquet.drop_duplicates(["dataset", "method", "fold", "shots", "seed"])
        assert runs["status"].value_counts().to_dict() == {"finished": 28, "failed": 1, "missing": 1}
        assert parquet[parquet["status"] != "finished"]["value"].isna().all()


class TestSmallBenchmarks:
    def test_one_seed_no_tests_no_curve(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], shots=[0], seeds=[0])
        records = write_all(tmp_path / "runs", plan, metrics, commit=None, versions={})
        page = write_report(plan, records, tmp_path, Request("One", COMMAND)).read_text(encoding="utf-8")
        assert "| counting | 1 | 1 | 0 | 0 |\n\nCommit unknown; versions unknown." in page
        assert "| A | **1.00** |" in page
        assert "t-test" not in page
        assert "test_mae.png" not in page
        assert "error-by-value.png" in page

    def test_nothing_finished(self, tmp_path: Path) -> None:
        plan = make_plan(["A", "B"], seeds=[0, 1])
        records = [write_failure(tmp_path / "runs", run, "") for run in plan]
        page = write_report(plan, records, tmp_path, Request("None", COMMAND, compare_to="A")).read_text(
            encoding="utf-8"
        )
        assert "8 of 8 runs failed:" in page
        assert "`no reason was given`" in page
        assert "| A | 0 of 2 | 0 of 2 |" in page
        assert "No method has two runs to pair with A's, so that nothing is tested over runs." in page
        assert "error-by-value" not in page

    def test_a_metric_that_no_run_on_a_dataset_has(self, tmp_path: Path) -> None:
        plan = make_plan(["A"], shots=[0], seeds=[0])
        request = Request("T", COMMAND, metrics=["test_mae", "test_epsilon"])
        page = write_report(plan, write_all(tmp_path / "runs", plan, metrics), tmp_path, request)
        text = page.read_text(encoding="utf-8")
        assert "No run on this dataset has test_epsilon; they have test_acc, test_mae." in text

    def test_a_reference_that_is_not_run_on_a_dataset(self, tmp_path: Path) -> None:
        plan = [*make_plan(["A", "B"], shots=[0]), *make_plan(["A"], datasets=["faces"], shots=[0])]
        records = write_all(tmp_path / "runs", plan, metrics)
        page = write_report(plan, records, tmp_path, Request("T", COMMAND, compare_to="B")).read_text(encoding="utf-8")
        assert "B is not run on this dataset, so nothing is tested against it." in page.split("## faces")[1]


def test_an_earlier_report_in_the_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    (folder / "plots").mkdir(parents=True)
    (folder / "plots" / "of_people.png").touch()
    made = {}
    for dataset in ("old", "new"):
        plan = make_plan(["A", "B"], datasets=[dataset])
        records = write_all(tmp_path / "runs", plan, metrics)
        write_report(plan, records, folder, Request("T", COMMAND, compare_to="B"))
        made[dataset] = {path.name for part in ("tables", "plots") for path in (folder / part).iterdir()}
    assert "of_people.png" in made["old"], "it is no report's"
    assert len(made["new"]) > 5
    assert all(name.startswith("new-") for name in made["new"])


def test_predictions_that_can_not_be_used_hide_no_table(tmp_path: Path) -> None:
    plan = make_plan(["A", "B"], shots=[0])
    records = write_all(tmp_path / "runs", plan, metrics)
    (records[0]["folder"] / "test_predictions.csv").write_text("path,target\n", encoding="utf-8")
    page = write_report(plan, records, tmp_path, Request("T", COMMAND)).read_text(encoding="utf-8")
    assert "| A | **1.01 ± 0.01** |" in page
    assert re.search(r"### Error by value\n\nNot shown: `.*counting-A-0-0-0/test_predictions.csv.* can't be read", page)
    assert "### Costs" in page


def test_every_file_says_what_was_selected_on_the_test_set(tmp_path: Path) -> None:
    plan = make_plan(["A", "B", "Z"], shots=[4, 0], learn_nothing=["Z"])
    records = [write_run(tmp_path / "runs", run, metrics(run), select_on="test" if run["method"] == "A" else "val")
               for run in plan]  # fmt: skip
    write_report(plan, records, tmp_path, Request("T", COMMAND, compare_to="B"))
    for name in ("test_mae-tests", "costs", "error-by-value"):
        frame = pd.read_csv(tmp_path / "tables" / f"counting-{name}.csv")
        for method, rows in frame.groupby("method"):
            assert set(rows["select_on"]) == {"test" if method == "A" else "val"}, (name, method)


def test_a_mean_over_datasets_stands_behind_them_with_the_published_figure(tmp_path: Path) -> None:
    plan = make_plan(["NumCLIP", "Z"], datasets=["nature", "urban"], shots=[0], learn_nothing=["Z"])
    numbers = {"nature": 0.2, "urban": 0.3}
    records = write_all(tmp_path / "runs", plan, lambda run: {"test_mae": numbers[run["dataset"]]})
    means, published = {"aesthetics": ["nature", "urban"]}, {"aesthetics": "aesthetics"}
    request = Request("T", COMMAND, ["test_mae"], "Z", published, means)
    page = write_report(plan, records, tmp_path, request).read_text(encoding="utf-8")
    before, mean = page.split("## aesthetics")
    assert "0.23" not in before
    assert "The mean over nature, urban, for each fold and seed that all of them have." in mean
    assert "| NumCLIP | **0.25 ± 0.00** | 0.23 |" in mean
    assert "Error by value" not in mean
    assert "Costs" not in mean
    assert "| All | 12 | 12 |" in before, "it is no run"
    assert (tmp_path / "tables" / "aesthetics-test_mae.csv").is_file()


class TestRequest:
    @pytest.mark.parametrize(
        ("request_", "message"),
        [
            (Request("T", COMMAND, metrics=[]), "metrics is empty; name at least one"),
            (Request("T", COMMAND, metrics=["test_qwkk"]), "metrics has 'test_qwkk', .* did you mean 'test_qwk'"),
            (
                Request("T", COMMAND, compare_to="NumClip"),
                "compare_to is 'NumClip'; choose one of 'NumCLIP', 'CoOp'; did",
            ),
            (Request("T", COMMAND, published={"faces": "morphs"}), "published is 'morphs'; choose one of 'morph'"),
            (Request("T", COMMAND, published={"face": "morph"}), "published is 'face'; choose one of 'faces', 'a b'"),
        ],
    )
    def test_what_can_not_be_shown_is_refused(self, request_: Request, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            request_.check(["NumCLIP", "CoOp"], ["faces", "a b"])

    def test_datasets_that_would_share_files_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="the datasets 'a b' and 'A-b' would write the same files; rename one"):
            Request("T", COMMAND).check(["NumCLIP"], ["a b", "A-b"])
        with pytest.raises(ConfigError, match="the datasets 'a b' and 'A-b' would write the same"):
            Request("T", COMMAND, means={"A-b": ["a b", "c"]}).check(["NumCLIP"], ["a b", "c"])

    def test_a_report_checks_its_request_and_its_records(self, tmp_path: Path, plan: list[Entry]) -> None:
        with pytest.raises(DataError, match="records is empty"):
            write_report(plan, [], tmp_path, Request("T", COMMAND))
        with pytest.raises(ConfigError, match="compare_to is 'C'"):
            write_report(
                plan, [write_failure(tmp_path, plan[0], "no")], tmp_path, Request("T", COMMAND, compare_to="C")
            )
        assert not (tmp_path / "report.md").exists()

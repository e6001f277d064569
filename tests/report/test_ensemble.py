"""Ensembles: the law of total variance, what members must share, and the folder that they leave."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from numclip_lightning.cli import main
from numclip_lightning.errors import DataError
from numclip_lightning.report.ensemble import combine, join_variances
from numclip_lightning.report.files import with_metrics_of_files
from numclip_lightning.report.frame import results_frame
from numclip_lightning.report.interval_sections import interval_sections
from numclip_lightning.report.joined_methods import Members, join_methods
from numclip_lightning.scale import OrdinalScale
from support.command import Numclip, metrics_of, rows_of

SCALE = OrdinalScale(
    0, 9, levels=[{"phrase": "few", "start": 0}, {"phrase": "some", "start": 3}, {"phrase": "many", "start": 7}]
)
PHRASES = ["p(few)", "p(some)", "p(many)"]


def reader(seed: int, n: int = 30) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.ones(3), n)
    frame = pd.DataFrame({"path": [f"{i}.png" for i in range(n)], "target": np.arange(n) % 10.0})
    frame["true_phrase"] = [SCALE.phrases[int(SCALE.to_level(t))] for t in frame["target"]]
    frame["value"] = shares @ [1.0, 4.5, 8.0]
    frame["error"] = frame["value"] - frame["target"]
    frame[PHRASES] = shares
    frame["spread"] = np.sqrt(shares @ (np.array([1, 4.5, 8]) ** 2) - frame["value"] ** 2)
    return frame.assign(group="a", attribute_sex="f")


class TestVariance:
    def test_is_that_of_the_mean_distribution(self) -> None:
        members = [reader(seed) for seed in range(3)]
        joined = join_variances([m["value"] for m in members], [m["spread"] for m in members])
        shares = np.mean([m[PHRASES] for m in members], axis=0)
        mean = shares @ [1, 4.5, 8]
        np.testing.assert_allclose(joined.value, mean, atol=1e-12)
        np.testing.assert_allclose(joined.spread**2, shares @ (np.array([1, 4.5, 8]) ** 2) - mean**2, atol=1e-12)

    def test_a_reader_without_a_distribution_counts_where_they_disagree(self) -> None:
        joined = join_variances([[1.0], [5.0]], [[2.0], [np.nan]])
        assert joined.spread[0] ** 2 == pytest.approx(4 + 4)
        assert joined.disagreement[0] == 2


class TestCombine:
    def test_copies_of_one_change_nothing(self) -> None:
        one = reader(0)
        found = combine([one, one.copy(), one.copy()], SCALE, ["a", "b", "c"])
        for name in ("value", "spread", "error", *PHRASES):
            np.testing.assert_allclose(found[name], one[name], atol=1e-12)
        np.testing.assert_allclose(found["disagreement"], 0, atol=1e-12)
        assert found[["path", "true_phrase", "group", "attribute_sex"]].equals(
            one[["path", "true_phrase", "group", "attribute_sex"]]
        )

    def test_the_order_of_members_and_of_their_rows_is_irrelevant(self) -> None:
        one, two = reader(0), reader(1)
        found = combine([one, two], SCALE, ["a", "b"])
        shuffled = (
            combine([two.sample(frac=1, random_state=0), one], SCALE, ["b", "a"]).set_index("path").loc[one["path"]]
        )
        for name in ("value", "spread", "disagreement", *PHRASES):
            np.testing.assert_allclose(found[name], shuffled[name], atol=1e-12)

    def test_a_reader_of_numbers_alone_is_left_out_of_probabilities(self) -> None:
        one, two = reader(0), reader(1).drop(columns="spread")
        two[PHRASES] = np.eye(3)[np.arange(30) % 3]
        found = combine([one, two], SCALE, ["a", "b"])
        np.testing.assert_allclose(found[PHRASES], one[PHRASES])
        np.testing.assert_allclose(found["value"], (one["value"] + two["value"]) / 2)

    def test_the_phrase_is_that_of_the_joined_value(self) -> None:
        one, two = reader(0, 1).assign(value=1.0), reader(1, 1).assign(value=6.0)
        assert combine([one, two], SCALE, ["a", "b"])["phrase"].tolist() == ["some"]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda frame: frame.iloc[1:],
                r"a and b are not of the same images: 1 of its 30 images are not in b, first 0.png",
            ),
            (lambda frame: frame.assign(target=frame["target"] + 1), "other targets: 0 and 1 for 0.png"),
            (lambda frame: frame.rename(columns={"p(few)": "p(none)"}), "b has the phrases none, some, many"),
            (lambda frame: frame.drop(columns="path"), "b has no column path"),
        ],
    )
    def test_refuses_other_images_targets_and_phrases(self, change: object, message: str) -> None:
        with pytest.raises(DataError, match=message):
            combine([reader(0), change(reader(1))], SCALE, ["a", "b"])  # type: ignore[operator]


@pytest.fixture(scope="module")
def runs(fitted: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    numclip = Numclip(data, tmp_path_factory.mktemp("probe"))
    words = ["--model=LinearProbe", "--data.augment=false", "--trainer.max_epochs=1", "--test_after_fit=true"]
    return [str(fitted), str(numclip("fit", *words))]


class TestCommand:
    def test_the_folder_is_one_of_a_run(self, runs: list[str], tmp_path: Path) -> None:
        output = tmp_path / "joined"
        assert main(["ensemble", *runs, "--output", str(output)]) == 0
        rows, members = (
            rows_of(output / "test_predictions.csv"),
            [rows_of(Path(run, "test_predictions.csv")) for run in runs],
        )
        for row, *own in zip(rows, *members, strict=True):
            assert float(row["value"]) == pytest.approx(np.mean([float(one["value"]) for one in own]))
            assert row["path"] == own[0]["path"]
            assert float(row["lower"]) <= float(row["upper"])
        errors = [abs(float(row["error"])) for row in rows]
        assert metrics_of(output)["test_mae"] == pytest.approx(np.mean(errors), rel=1e-5)
        assert json.loads((output / "ensemble.json").read_text())["members"] == runs
        # What reads runs reads it.
        assert main(["calibrate", "--run", str(output), "--output", str(tmp_path / "again")]) == 0
        # And it can be made again.
        assert main(["ensemble", *runs, "--output", str(output), "--coverage=null"]) == 0
        assert not (output / "calibration.json").exists()

    def test_mistakes(self, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        other = tmp_path / "other"
        other.mkdir()
        config = yaml.safe_load((fitted / "config.yaml").read_text())
        config["model"]["init_args"]["scale"]["maximum"] = 29
        (other / "config.yaml").write_text(yaml.safe_dump(config))
        full = tmp_path / "full"
        full.mkdir()
        (full / "mine.txt").write_text("mine")
        copy = tmp_path / "copy"
        copy.mkdir()
        for name in ("config.yaml", "test_predictions.csv"):
            (copy / name).write_bytes((fitted / name).read_bytes())
        for words, message in [
            ([str(fitted)], "needs two runs or more"),
            ([str(fitted), str(fitted)], "a run is given twice"),
            ([str(fitted), str(other)], f"{other} is of another scale than {fitted}: 10..29"),
            ([str(fitted), str(tmp_path / "none")], "is no folder"),
        ]:
            assert main(["ensemble", *words, "--output", str(tmp_path / "out")]) == 2
            assert message in capsys.readouterr().err
        assert main(["ensemble", str(fitted), str(copy), "--output", str(full)]) == 2
        assert "has other files in it" in capsys.readouterr().err
        assert (full / "mine.txt").read_text() == "mine"


class TestInABenchmark:
    def entries(self, runs: list[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        place = {"dataset": "dots", "fold": 0, "shots": 0, "seed": 0}
        planned = [
            {**place, "method": "NumCLIP", "trains": True},
            {**place, "method": "Probe", "trains": False},
            {**place, "method": "Probe", "trains": False, "seed": 1},
            {**place, "method": "NumCLIP", "trains": True, "seed": 1},
        ]
        return planned, [
            {
                **entry,
                "status": "finished",
                "folder": Path(run),
                "metrics": {"test_mae": metrics_of(Path(run))["test_mae"]},
            }
            for entry, run in zip(planned, runs, strict=False)
        ]

    def test_rows_are_joined_as_far_as_members_have_finished(self, runs: list[str], tmp_path: Path) -> None:
        planned, records = self.entries(runs)
        rows, found = join_methods({"Both": Members(["Probe", "NumCLIP"], False)}, planned, records, tmp_path)
        assert [(row["method"], row["seed"]) for row in rows] == [("Both", 0), ("Both", 1)]
        (record,) = found
        joined = pd.read_csv(record["folder"] / "test_predictions.csv")
        values = np.mean([pd.read_csv(Path(run, "test_predictions.csv"))["value"] for run in runs], axis=0)
        np.testing.assert_allclose(joined["value"], values)
        frame = results_frame([*planned, *rows], [*records, *with_metrics_of_files(found, ["test_mae"])], ["test_mae"])
        value = frame.set_index(["method", "seed", "metric"])["value"].loc[("Both", 0, "test_mae")]
        assert value == pytest.approx(joined["error"].abs().mean(), rel=1e-5)

    def test_members_of_other_images_are_a_failed_row(self, runs: list[str], data: Path, tmp_path: Path) -> None:
        planned, records = self.entries(runs)
        other = tmp_path / "other"
        shutil.copytree(runs[1], other)
        lines = (other / "test_predictions.csv").read_text().splitlines()
        (other / "test_predictions.csv").write_text("\n".join(lines[:-1]) + "\n")
        records[1]["folder"] = other
        _, found = join_methods({"Both": Members(["Probe", "NumCLIP"], False)}, planned, records, tmp_path)
        assert found[0]["status"] == "failed"
        assert "are not of the same images" in found[0]["error"]

    def test_the_report_shows_the_coverage_of_each_method(self, runs: list[str], tmp_path: Path) -> None:
        planned, records = self.entries(runs)
        (tmp_path / "tables").mkdir()
        frame = results_frame(planned, records, ["test_mae"])
        text = "\n".join(interval_sections(frame, "dots", 0, tmp_path, "dots"))
        for method, run in zip(("NumCLIP", "Probe"), runs, strict=True):
            tested = pd.read_csv(Path(run, "test_predictions.csv"))
            inside = (tested["lower"] <= tested["target"]) & (tested["target"] <= tested["upper"])
            assert f"| {method} | {100 * inside.mean():.1f} % |" in text
            assert f"{(tested['upper'] - tested['lower']).mean():.4g} |" in text
        kept = pd.read_csv(tmp_path / "tables" / "dots-coverage.csv")
        assert set(kept["by"]) == {"all images"}, "17 images are too few for groups"

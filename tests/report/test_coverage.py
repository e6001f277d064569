"""Coverage and width by group, decisions at a threshold, and files of strangers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.report.answers import answers_of, read_answers, read_scale, scale_in
from numclip_lightning.report.coverage import coverage_table
from numclip_lightning.report.decisions import choose_cut, decision_table

FRAME = pd.DataFrame({
    "target": [1.0, 2, 10, 20], "lower": [0.0, 3, 5, 15], "upper": [2.0, 4, 15, 19], "sex": ["b", "a", "a", "a"],
    "true_phrase": ["young", "young", "adult", "old"],
    "phrases_in_set": ["young", "young; adult", "young; adult; old", "adult"],
})  # fmt: skip


class TestCoverage:
    def test_over_all_images(self) -> None:
        (row,) = coverage_table(FRAME).to_dict("records")
        assert (row["group"], row["n"], row["coverage"], row["width"]) == ("all images", 4, 0.5, 4.25)
        assert (row["set_coverage"], row["set_size"]) == (0.75, 1.75)
        # Wilson's formula.
        n, p, z = 4, 0.5, 1.959964
        middle, half = (
            (p + z**2 / (2 * n)) / (1 + z**2 / n),
            z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5,
        )
        assert (row["low"], row["high"]) == pytest.approx((middle - half, middle + half), rel=1e-5)

    def test_by_level_in_their_order_and_by_group_in_that_of_names(self) -> None:
        assert coverage_table(FRAME, "true_phrase")["group"].tolist() == ["young", "adult", "old"]
        table = coverage_table(FRAME, "sex")
        assert table["group"].tolist() == ["a", "b"]
        assert table["coverage"].tolist() == [1 / 3, 1]
        assert coverage_table(FRAME, "sex", fewest=2)["group"].tolist() == ["a"]

    def test_without_sets(self) -> None:
        assert coverage_table(FRAME[["target", "lower", "upper"]])["set_coverage"].isna().all()

    def test_a_missing_column_is_named(self) -> None:
        with pytest.raises(DataError, match="no column site"):
            coverage_table(FRAME, "site")


class TestDecision:
    @pytest.mark.parametrize("recall", [0.5, 0.9, 0.95, 1.0])
    def test_cut_is_the_point_of_the_roc_curve(self, recall: float) -> None:
        random = np.random.default_rng(0)
        target = random.integers(10, 30, 200)
        value = target + 4 * random.standard_normal(200)
        decision = choose_cut(value, target, 18, recall)
        wrong, right, cuts = roc_curve(target >= 18, value, drop_intermediate=False)
        place = int(np.argmax(right >= recall - 1e-12))
        assert decision.cut == cuts[place]
        table = decision_table(value, target, decision).set_index("rate")["share"]
        assert table["recall"] == pytest.approx(right[place])
        assert table["false positives"] == pytest.approx(wrong[place])

    def test_refuses_what_decides_nothing(self) -> None:
        with pytest.raises(DataError, match="all 2 images are at or above 18"):
            choose_cut([20, 21], [20, 21], 18, 0.9)
        with pytest.raises(ConfigError, match="recall is 95"):
            choose_cut([20, 21], [10, 21], 18, 95)


class TestFiles:
    def write(self, path: Path, text: str) -> Path:
        file = path / "other.csv"
        file.write_text(text)
        return file

    def test_of_strangers_with_two_columns(self, tmp_path: Path) -> None:
        frame = read_answers(self.write(tmp_path, "image,value,target\na,1.5,2\nb,3,3\n"), targets=True)
        answers = answers_of(frame)
        assert answers.value.tolist() == [1.5, 3]
        assert answers.target is not None
        assert answers.probabilities is None

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("value,traget\n1,2\n", "no column target; did you mean 'traget'"),
            ("path,target\na,2\n", "no column value; it has path, target"),
            ("value,target\n1,2\nx,3\n", "other.csv:3: value is 'x', which is no finite number"),
            ("value,target\n", "has no rows"),
            ("value,target,p(a)\n1,2,\n", r"other.csv:2: p\(a\) is ''"),
        ],
    )
    def test_mistakes_are_named_with_their_line(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(DataError, match=message):
            read_answers(self.write(tmp_path, text), targets=True)

    def test_phrases_that_are_numbers_are_a_scale(self, tmp_path: Path) -> None:
        frame = read_answers(self.write(tmp_path, "value,target,p(1),p(1.5),p(2)\n1,2,0,0,1\n"), targets=True)
        values = scale_in(frame)
        assert values is not None
        assert (values.lower, values.step) == ((1, 1.5, 2), 0.5)
        words = read_answers(self.write(tmp_path, "value,target,p(few),p(many)\n1,2,0,1\n"), targets=True)
        assert scale_in(words) is None

    def test_a_scale_is_read_from_a_run_or_on_its_own(self, tmp_path: Path) -> None:
        alone = self.write(tmp_path, "{minimum: 0, maximum: 9}")
        assert read_scale(alone).num_levels == 10
        (tmp_path / "config.yaml").write_text("model: {init_args: {scale: {minimum: 0, maximum: 4}}}")
        assert read_scale(tmp_path).num_levels == 5
        with pytest.raises(ConfigError, match="has no scale"):
            read_scale(self.write(tmp_path, "{data: 1}"))

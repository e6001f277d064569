"""Lists of several raters: a line, a label or a column for each, or a column for each score."""

import math
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

from numclip_lightning.data.base import LabelTable
from numclip_lightning.data.base.votes import Votes, count_votes
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.errors import ConfigError, DataError
from support.fake_data import make_images


def read(folder: Path, rows: str, **options: Any) -> LabelTable:
    (folder / "list.csv").write_text(rows, encoding="utf-8")
    return ListDataModule(root=str(folder), test_file="list.csv", **options).labels("test")


def test_votes_are_counted_as_statistics_counts_them() -> None:
    given = [3.0, 4, 4, 5, 1, 4.5]
    votes = count_votes(given)
    assert dict(zip(votes.scores, votes.counts, strict=True)) == {1: 1, 3: 1, 4: 2, 4.5: 1, 5: 1}
    assert votes.mean == pytest.approx(statistics.mean(given))
    assert votes.spread == pytest.approx(statistics.pstdev(given))
    assert Votes((1.0, 2.0), (0.25, 0.75)).shares == (0.25, 0.75)


class TestWaysToList:
    def test_a_line_for_each_rater(self, tmp_path: Path) -> None:
        table = read(tmp_path, "path,score,site\na.png,3,x\nb.png,1,y\n./a.png,5,x\na.png,5,x\n", repeats="votes")
        assert [(label.path, label.votes) for label in table] == [
            ("a.png", Votes((3, 5), (1, 2))),
            ("b.png", Votes((1,), (1,))),
        ]
        assert list(table.targets) == pytest.approx([13 / 3, 1])

    def test_several_labels_in_a_line(self, tmp_path: Path) -> None:
        (label,) = read(tmp_path, "a.png 3 4 4\n", repeats="votes")
        assert label.votes == Votes((3, 4), (1, 2))

    def test_a_column_for_each_score(self, tmp_path: Path) -> None:
        rows = "path,C1,C2,C5\na.png,1,0,3\nb.png,,2,0\n"
        a, b = read(tmp_path, rows, vote_columns={"C1": 1, "C2": 2, "C5": 5})
        assert a.votes == Votes((1, 2, 5), (1, 0, 3))
        assert (a.target, b.target) == (4.0, 2.0)

    def test_a_column_for_each_rater(self, tmp_path: Path) -> None:
        a, b = read(tmp_path, "path,anna,ben,group\na.png,,4,p\nb.png,1,2,p\n", rater_columns=["anna", "ben"])
        assert (a.votes, b.votes) == (Votes((4,), (1,)), Votes((1, 2), (1, 1)))

    def test_a_target_that_is_named_stays(self, tmp_path: Path) -> None:
        rows = "path,final,anna,ben\na.png,5,3,4\n"
        (label,) = read(tmp_path, rows, rater_columns=["anna", "ben"], target_column="final")
        assert (label.target, label.votes) == (5.0, Votes((3, 4), (1, 1)))


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ("path,score\na.png,3\na.png,4\n", {}, r"list\.csv:3: 'a\.png' is labelled 4, but line 2 labels it 3"),
        (
            "path,score,site\na.png,3,x\na.png,4,y\n",
            {"repeats": "votes", "attributes": ["site"]},
            r"list\.csv:3: 'a\.png' has another group or other columns than in line 2",
        ),
        (
            "path,c1\na.png,-1\n",
            {"vote_columns": {"c1": 1}},
            r"list\.csv:2: '-1' in the column 'c1' is not a number of",
        ),
        ("path,c1\na.png,0\n", {"vote_columns": {"c1": 1}}, r"list\.csv:2: there is no vote in the columns 'c1'"),
        ("path,c1\na.png,2\n", {"vote_columns": {"c2": 1}}, "has no column 'c2'; the columns are 'path', 'c1'"),
        ("path,c1\na.png,2\na.png,3\n", {"vote_columns": {"c1": 1}}, r"list\.csv:3: 'a\.png' is labelled"),
        ("path,r\na.png,\n", {"rater_columns": ["r"]}, r"list\.csv:2: no rater has given 'a\.png' a number"),
        ("path,r\na.png,good\n", {"rater_columns": ["r"]}, r"list\.csv:2: label 'good' is not a number"),
        ("path,r\na.png,2\n", {"rater_columns": ["r"], "attributes": ["sex"]}, "has no column 'sex'"),
    ],
)
def test_bad_lists(tmp_path: Path, rows: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, rows, **options)


def test_bad_arguments() -> None:
    with pytest.raises(ConfigError, match="three ways to list votes; give one"):
        ListDataModule(repeats="votes", rater_columns=["a"])
    with pytest.raises(ConfigError, match="vote_columns or rater_columns has no column"):
        ListDataModule(vote_columns={})
    with pytest.raises(ConfigError, match="repeats"):
        ListDataModule(repeats="mean")  # type: ignore[arg-type]


def test_batches_have_the_share_of_each_score(tmp_path: Path) -> None:
    """Images with fewer scores than others have no vote for the rest; kept features have votes too."""
    make_images(tmp_path, ["a.png", "b.png"])
    (tmp_path / "list.csv").write_text("path,score\na.png,3\na.png,4\na.png,4\nb.png,1\n", encoding="utf-8")
    options: dict[str, Any] = {"image_size": 8, "num_workers": 0, "repeats": "votes"}
    data = ListDataModule(root=str(tmp_path), test_file="list.csv", **options)
    data.setup("test")
    (batch,) = data.test_dataloader()
    assert batch["votes"].tolist() == [[pytest.approx(1 / 3), pytest.approx(2 / 3)], [1, 0]]
    assert batch["scores"].tolist() == [[3, 4], [1, 1]]
    data.keep_features(lambda _: torch.zeros(2, 5))
    (kept,) = data.test_dataloader()
    assert torch.equal(kept["votes"], batch["votes"])
    # Nothing of it in what is predicted.
    data = ListDataModule(root=str(tmp_path), predict_path="list.csv", **options)
    data.setup("predict")
    assert next(iter(data.predict_dataloader())).keys() == {"image", "index"}
    assert math.isfinite(batch["target"].sum())

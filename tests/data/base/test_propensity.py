"""The column of propensities: from the list to batches and back into lists."""

from pathlib import Path

import pytest
import torch

from numclip_lightning.data.base.labels import read_labels
from numclip_lightning.data.base.writing import write_list
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.errors import DataError
from support.fake_data import make_image


def make_list(folder: Path, *cells: str) -> Path:
    rows = [f"{i}.png;{i};{cell}" for i, cell in enumerate(cells)]
    file = folder / "train.csv"
    file.write_text("\n".join(["path;x;chance", *rows]), encoding="utf-8")
    for i in range(len(cells)):
        make_image(folder / f"{i}.png")
    return file


def test_a_propensity_reaches_the_batch_and_a_written_list(tmp_path: Path) -> None:
    file = make_list(tmp_path, "0,5", "1", "0.25", "0.125")
    data = ListDataModule(
        root=str(tmp_path), train_file="train.csv", val_file="train.csv", propensity_column="chance", leaks="warn",
        image_size=8, num_workers=0, augment=False,
    )  # fmt: skip
    (batch,) = list(data.train_dataloader())
    expected = torch.tensor([0.5, 1, 0.25, 0.125])[batch["index"]]
    assert torch.equal(batch["propensity"], expected)
    table = read_labels(file, propensity_column="chance")
    write_list(table, tmp_path / "again.tsv", tmp_path)
    again = read_labels(tmp_path / "again.tsv", propensity_column="propensity")
    assert [label.propensity for label in again] == [0.5, 1, 0.25, 0.125]


@pytest.mark.parametrize("cell", ["0", "1.5", "-0.1", "nan", "often", ""])
def test_what_is_no_probability_is_refused(tmp_path: Path, cell: str) -> None:
    file = make_list(tmp_path, "0.5", cell)
    with pytest.raises(DataError, match=r"train.csv:3: propensity .* is not a probability"):
        read_labels(file, propensity_column="chance")


def test_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    file = make_list(tmp_path, "0.5", "0.5")
    with pytest.raises(DataError, match="has no column propensity_column='chanse'; did you mean 'chance'"):
        read_labels(file, propensity_column="chanse")

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from numclip_lightning.data.base import LabelTable, OrdinalDataset, read_labels
from numclip_lightning.data.base.dataset import FeatureDataset
from numclip_lightning.errors import DataError
from numclip_lightning.images.transforms import build_transform
from support.fake_data import make_image, make_list_dataset

TRANSFORM = build_transform(8, "clip", train=False)


def test_sample(tmp_path: Path) -> None:
    table = read_labels(make_list_dataset(tmp_path, 5, values=(1.5, 40.0)))
    dataset = OrdinalDataset(table, tmp_path, TRANSFORM)
    assert len(dataset) == 5
    sample = dataset[3]
    assert sample.keys() == {"image", "target", "index"}
    assert (sample["image"].shape, sample["image"].dtype) == ((3, 8, 8), torch.float32)
    assert (sample["target"].item(), sample["target"].dtype) == (table[3].target, torch.float32)
    assert (sample["index"].item(), sample["index"].dtype) == (3, torch.int64)
    # The makers' promise: brightness follows the target.
    assert (dataset[0]["image"].mean() < dataset[1]["image"].mean()) == (table[0].target < table[1].target)


def test_one_of_several_targets(tmp_path: Path) -> None:
    make_image(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("a.png 33 31 30 40\n")
    table = read_labels(tmp_path / "list.txt")
    evaluation = OrdinalDataset(table, tmp_path, TRANSFORM)
    assert {evaluation[0]["target"].item() for _ in range(20)} == {30.0}  # targets[4 // 2], as listed
    training = OrdinalDataset(table, tmp_path, TRANSFORM, sample_target=True)
    torch.manual_seed(0)
    drawn = [training[0]["target"].item() for _ in range(60)]
    assert set(drawn) == {33.0, 31.0, 30.0, 40.0}
    torch.manual_seed(0)
    assert [training[0]["target"].item() for _ in range(60)] == drawn


def test_unlabelled_sample_has_no_target(tmp_path: Path) -> None:
    make_image(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("a.png\n")
    dataset = OrdinalDataset(read_labels(tmp_path / "list.txt", labelled=False), tmp_path, TRANSFORM)
    assert dataset[0].keys() == {"image", "index"}


def test_image_that_breaks_later(tmp_path: Path) -> None:
    file = make_list_dataset(tmp_path, 3)
    table = read_labels(file)
    (tmp_path / table[1].path).unlink()
    with pytest.raises(DataError, match=r"list\.txt:2: image .* doesn't exist"):
        OrdinalDataset(table, tmp_path, TRANSFORM)[1]


def test_spread_where_any_label_has_one(tmp_path: Path) -> None:
    make_image(tmp_path / "a.png")
    make_image(tmp_path / "b.png")
    (tmp_path / "list.csv").write_text("path,age,stdv\na.png,30,2.5\nb.png,31,3\n")
    table = read_labels(tmp_path / "list.csv")
    sample = OrdinalDataset(table, tmp_path, TRANSFORM)[0]
    assert (sample["spread"].item(), sample["spread"].dtype) == (2.5, torch.float32)
    mixed = LabelTable([table[0], replace(table[1], spread=None)])
    assert OrdinalDataset(mixed, tmp_path, TRANSFORM)[0]["spread"].item() == 2.5
    assert OrdinalDataset(mixed, tmp_path, TRANSFORM)[1]["spread"].isnan()
    none = LabelTable(replace(label, spread=None) for label in table)
    assert "spread" not in OrdinalDataset(none, tmp_path, TRANSFORM)[0]


def test_features_come_with_all_that_images_come_with(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        make_image(tmp_path / name)
    for listed in ("path,age,stdv\na.png,30,2.5\nb.png,31,3\n", "a.png 33 31 30 40\nb.png 20 21 22 23\n"):
        (tmp_path / "list.csv").write_text(listed)
        table = read_labels(tmp_path / "list.csv")
        for sample in (False, True):
            images = OrdinalDataset(table, tmp_path, TRANSFORM, sample_target=sample)
            features = FeatureDataset(table, torch.tensor([[1.0], [2.0]]), sample_target=sample)
            for i in range(2):
                torch.manual_seed(i)
                expected = images[i]
                torch.manual_seed(i)
                found = features[i]
                assert found.pop("features").tolist() == [i + 1.0]
                del expected["image"]
                assert found == expected

"""What a worker of scripts/predict_ray.py answers: rows of one kind, whatever its images are; Ray is not started."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from numclip_lightning.deploy import OrdinalPredictor
from support.places import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "scripts"))

from predict_ray import Reader, parts_of


def test_blocks_are_one_table_with_and_without_images_that_can_be_read(tmp_path: Path) -> None:
    for number in (0, 1):
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    reader = Reader("mini", str(tmp_path), 2, "cpu")
    blocks = [
        reader({"path": np.array(names), "index": np.array(places)})
        for names, places in ((["1.png", "bad.png"], [3, 4]), (["bad.png", "none.png"], [5, 6]), (["0.png"], [7]))
    ]
    rows = pa.concat_tables(blocks).to_pandas()
    assert rows["index"].tolist() == [3, 4, 5, 6, 7]
    assert rows["path"].tolist() == ["1.png", "bad.png", "bad.png", "none.png", "0.png"]
    assert rows["reason"].isna().tolist() == [True, False, False, False, True]
    assert "doesn't exist" in rows["reason"][3]
    assert rows["value"].isna().tolist() == [False, True, True, True, False]
    expected = OrdinalPredictor.load("mini")([tmp_path / "1.png", tmp_path / "0.png"]).to_pandas()
    assert set(rows) == {*expected, "index", "reason"}
    pd.testing.assert_frame_equal(
        rows.loc[[0, 4], list(expected.columns)].drop(columns="path").reset_index(drop=True),
        expected.drop(columns="path"), check_dtype=False, rtol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize(("number", "sizes"), [(0, []), (3, [2, 1]), (4, [2, 2])])
def test_parts_have_every_image_once(number: int, sizes: list[int]) -> None:
    parts = list(parts_of((f"{index}.png" for index in range(number)), 2))
    assert [len(part) for part in parts] == sizes
    entries = [entry for part in parts for entry in part]
    assert entries == [{"path": f"{index}.png", "index": index} for index in range(number)]

"""`write_predictions`: rows of any number of images on disk, and on from where it was stopped."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from numclip_lightning.deploy import OrdinalPredictor, write_predictions
from numclip_lightning.errors import ConfigError, DataError
from support.fake_data import make_image


@pytest.fixture(scope="module")
def predictor() -> OrdinalPredictor:
    return OrdinalPredictor.load("mini", batch_size=3)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return [make_image(tmp_path / "images" / f"{number}.png", number / 9) for number in range(8)]


def test_the_rows_are_those_of_a_call(predictor: OrdinalPredictor, images: list[Path], tmp_path: Path) -> None:
    done = write_predictions(predictor, images[0].parent, tmp_path / "rows", shard_size=4)
    assert done == (8, 0, "")
    found, expected = pd.read_parquet(tmp_path / "rows"), predictor(images).to_pandas()
    assert list(found) == ["index", *expected]
    for name in expected:
        if expected[name].dtype.kind == "f":
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)
        else:
            assert list(found[name]) == list(expected[name]), name
    assert len(list((tmp_path / "rows").glob("*.parquet"))) == 2


def test_what_was_stopped_goes_on_without_reading_again(
    predictor: OrdinalPredictor, images: list[Path], tmp_path: Path
) -> None:
    def broken() -> Iterator[Path]:
        yield from images[:5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_predictions(predictor, broken(), tmp_path / "rows")
    assert list(pd.read_parquet(tmp_path / "rows")["index"]) == [0, 1, 2]
    # Those that have a row are not opened.
    images[0].unlink()
    assert write_predictions(predictor, images, tmp_path / "rows").rows == 8
    assert list(pd.read_parquet(tmp_path / "rows")["path"]) == list(map(str, images))
    with pytest.raises(ConfigError, match=r"image 0 is .*7\.png, but the folder has the rows of other images"):
        write_predictions(predictor, images[::-1], tmp_path / "rows")
    other = OrdinalPredictor.load("mini", precision="bfloat16")
    with pytest.raises(ConfigError, match="another precision"):
        write_predictions(other, images, tmp_path / "rows")


def test_bad_images_are_refused_or_skipped(predictor: OrdinalPredictor, images: list[Path], tmp_path: Path) -> None:
    for number in (0, 4, 7):
        images[number].write_bytes(b"")
    with pytest.raises(DataError, match=r"4\.png"):
        write_predictions(predictor, images[1:], tmp_path / "first")
    assert len(pd.read_parquet(tmp_path / "first")) == 3
    for _ in range(2):
        assert write_predictions(predictor, images, tmp_path / "rows", on_error="skip").rows == 5
    assert list(pd.read_parquet(tmp_path / "rows")["index"]) == [1, 2, 3, 5, 6]
    only_bad = [images[number] for number in (0, 4, 7)]
    assert write_predictions(predictor, only_bad, tmp_path / "none", on_error="skip").rows == 0
    with pytest.raises(ConfigError, match="shard_size is 0"):
        write_predictions(predictor, images, tmp_path / "other", shard_size=0)


def test_no_more_than_a_batch_is_read_ahead(predictor: OrdinalPredictor, tmp_path: Path) -> None:
    given = itertools.count()

    def endless() -> Iterator[np.ndarray]:
        for number in given:
            if number == 7:
                written = pd.concat(map(pd.read_parquet, (tmp_path / "rows").glob("*.parquet")))
                assert list(written["index"]) == [0, 1, 2]
                return
            yield np.full((64, 64, 3), number, dtype=np.uint8)

    assert write_predictions(predictor, endless(), tmp_path / "rows", shard_size=3).rows == 7

"""`numclip test --corrupt`: the error on corrupted images beside that on clean ones; `--maps` and `--focus`."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from numclip_lightning.images.corruptions import Corruption
from numclip_lightning.images.loading import load_rgb
from numclip_lightning.images.transforms import build_transform
from numclip_lightning.methods import NumCLIP
from numclip_lightning.models.focus import encode_focus, focus_text
from numclip_lightning.report.corruptions import corruption_table
from support.command import SIZES, Numclip, failure, metrics_of, rows_of


@pytest.fixture
def words(fitted: Path, numclip: Numclip) -> list[str]:
    """The configuration and the checkpoint of the fit."""
    best = fitted / "checkpoints" / "best.ckpt"
    return ["--config", str(fitted / "config.yaml"), "--ckpt_path", str(best), *numclip.small]


def test_the_table_has_the_error_of_each_corruption_over_that_of_clean_images(
    words: list[str], fitted: Path, data: Path, numclip: Numclip
) -> None:
    run = numclip.plain("test", *words, "--corrupt=noise:5,brightness")
    rows = rows_of(run / "corruptions.csv")
    assert [(row["kind"], row["strength"]) for row in rows] == [
        ("clean", "0"), ("noise", "5"), *(("brightness", str(strength)) for strength in range(1, 6)),
    ]  # fmt: skip
    clean = metrics_of(run)["test_mae"]
    assert float(rows[0]["mae"]) == pytest.approx(clean, abs=1e-5)
    assert {row["images"] for row in rows} == {str(SIZES["test"])}

    # A slow twin of one of them.
    method = NumCLIP.load_from_checkpoint(fitted / "checkpoints" / "best.ckpt").eval()
    tested = rows_of(run / "test_predictions.csv")
    plain = build_transform(32, "clip", train=False)
    errors = []
    for index, row in enumerate(tested):
        image = plain.normalise(Corruption("noise", 5)(plain.square(load_rgb(data / row["path"])), index))
        with torch.inference_mode():
            errors.append(abs(method(image[None]).value.item() - float(row["target"])))
    assert float(rows[1]["mae"]) == pytest.approx(np.mean(errors), abs=1e-3)

    table = corruption_table(run / "corruptions.csv")
    assert table.loc["noise", 5] == pytest.approx(float(rows[1]["mae"]) / clean, rel=1e-4)
    assert np.isnan(table.loc["noise", 1])
    ratios = [float(row["ratio"]) for row in rows[1:]]
    assert table.loc["brightness", "mean"] == pytest.approx(np.mean(ratios[1:]), rel=1e-5)
    assert metrics_of(run)["test_corruption_ratio"] == pytest.approx(np.mean(ratios), rel=1e-5)


def test_what_can_not_be_corrupted_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert failure("test", *words, "--corrupt=fog") == 2
    assert "--corrupt has 'fog'" in capsys.readouterr().err
    assert failure("test", *words, "--corrupt=all", "--trainer.limit_test_batches=1") == 2
    assert "leave trainer.limit_test_batches out" in capsys.readouterr().err


def test_each_predicted_image_has_a_map_of_its_name(words: list[str], data: Path, numclip: Numclip) -> None:
    run = numclip.plain("predict", *words, "--maps", f"--data.predict_path={data / 'val_003.png'}")
    numbers = np.load(run / "maps" / "000000-val_003.npy")
    assert numbers.shape == (2, 2)
    assert ((numbers >= 10) & (numbers <= 19)).all()
    with Image.open(run / "maps" / "000000-val_003.png") as picture:
        assert picture.size == (2 * 256 + 8, 256 + 34)
    assert rows_of(run / "maps" / "maps.csv") == [{"path": "val_003.png", "map": "000000-val_003"}]


def test_a_focus_reads_every_image_by_its_places(
    words: list[str], fitted: Path, data: Path, numclip: Numclip, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = rows_of(numclip.plain("predict", *words) / "predictions.csv")
    rows = rows_of(numclip.plain("predict", *words, "--focus=a dot") / "predictions.csv")
    assert rows != plain
    method = NumCLIP.load_from_checkpoint(fitted / "checkpoints" / "best.ckpt").eval()
    image = build_transform(32, "clip", train=False)(load_rgb(data / rows[3]["path"]))[None]
    with torch.inference_mode():
        text = focus_text(method.clip, method.scale.template, "a dot")
        expected = method.decode_features(encode_focus(method.clip, image, text)).value.item()
        unsharp = encode_focus(method.clip, image, text, sharpness=0.0)
        assert torch.equal(unsharp, method.encode_images(image))
    assert float(rows[3]["value"]) == pytest.approx(expected, abs=1e-4)

    flags = [word for word in numclip.flags if not word.startswith("--model=")]
    assert failure("test", "--model=L1Regression", *flags, "--focus=a dot") == 2
    assert "needs a text tower, which L1Regression lacks" in capsys.readouterr().err

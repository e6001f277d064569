"""The predictor: what it takes, in which order, alone and in batches, and what it says of images it can't read."""

import io
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

import numclip_lightning
from numclip_lightning.deploy import OrdinalPredictor, Prediction, Recipe
from numclip_lightning.errors import ConfigError, DataError
from support.command import rows_of
from support.predictors import RECIPE, random_images, tiny_method, tiny_predictor

RANGE = 6


def values(predictions: object) -> list[float]:
    return [one.value for one in predictions]  # type: ignore[attr-defined]


class TestWhatItTakes:
    def test_the_same_image_in_every_form_is_the_same_number(self, tmp_path: Path) -> None:
        (pixels,) = random_images(1)
        file = tmp_path / "a.png"
        Image.fromarray(pixels).save(file)
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)
        forms = [str(file), file, Image.open(file), pixels, tensor, tensor / 255, file.read_bytes()]
        forms += [bytearray(file.read_bytes()), memoryview(file.read_bytes()), io.BytesIO(file.read_bytes())]
        forms += [np.ascontiguousarray(pixels[::-1])[::-1], (tensor / 255).requires_grad_()]
        found = [tiny_predictor()(form) for form in forms]
        assert len({one.value for one in found}) == 1
        assert found[0].source == str(file)

    def test_folders_arrays_lists_and_generators_keep_their_order(self, tmp_path: Path) -> None:
        images = random_images(5)
        for name, pixels in zip("dbeac", images, strict=True):
            Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        expected = values(tiny_predictor()(images))
        by_name = [value for _, value in sorted(zip("dbeac", expected, strict=True))]
        assert values(tiny_predictor()(tmp_path)) == pytest.approx(by_name, abs=1e-6 * RANGE)
        assert values(tiny_predictor()(image for image in images)) == expected
        same = np.stack([images[0], images[0]])
        assert values(tiny_predictor()(same)) == pytest.approx([expected[0]] * 2, abs=1e-6 * RANGE)
        assert tiny_predictor()([]) == []
        names = np.array([str(tmp_path / "a.png"), str(tmp_path / "b.png")])
        for listed in (names, names.astype(object)):
            assert values(tiny_predictor()(listed)) == pytest.approx(by_name[:2], abs=1e-6 * RANGE)

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (np.zeros((4, 4, 3)), "has the type float64"),
            (np.zeros((4, 4, 4), dtype=np.uint8), r"the shape \(4, 4, 4\)"),
            (np.zeros((0, 4, 3), dtype=np.uint8), "the shape"),
            (torch.zeros(4, 4, 3), r"give \(3, H, W\)"),
            (torch.full((3, 4, 4), 2.0), "normalises as its model was trained"),
            (torch.full((3, 4, 4), torch.nan), "numbers from nan"),
            (torch.zeros(3, 4, 4, dtype=torch.int64), "has the type torch.int64"),
            (b"no image", "can't read the image: cannot identify image file"),
            (7, "int is no image"),
            ("nowhere.png", "nowhere.png doesn't exist"),
            ("", "the path is empty"),
            ("https://example.com/a.png", "is an address, and nothing is fetched"),
            (["."], r"\. is a folder; give it by itself"),
            ({"a.png": 1}, "dict is no image"),
            (Image.new("RGB", (0, 9)), "has 0 x 9 pixels"),
        ],
        ids=lambda value: None if isinstance(value, str) else type(value).__name__,
    )
    def test_what_is_no_image_is_refused_with_what_to_give(self, image: object, message: str) -> None:
        with pytest.raises(DataError, match=message):
            tiny_predictor()(image)


class TestWhatItSays:
    def test_a_prediction_has_number_words_and_shares(self) -> None:
        one = tiny_predictor()(random_images(1)[0])
        assert isinstance(one, Prediction)
        assert list(one.probabilities) == ["hardly any", "many"]
        assert sum(one.probabilities.values()) == pytest.approx(1)
        assert one.phrase == list(one.probabilities)[one.level]
        assert one.level == int(one.value >= 3.5)
        assert one.most_probable == max(one.probabilities, key=one.probabilities.__getitem__)

    def test_it_is_written_for_people(self) -> None:
        one = Prediction(
            value=31.44, phrase="young", level=1, most_probable="old", probabilities={"young": 0.4, "old": 0.6},
            spread=2.04, unit="years",
        )  # fmt: skip
        assert str(one) == "31.4 ± 2.0 years (old 60 %, young 40 %)"
        assert one.to_dict()["probabilities"] == {"young": 0.4, "old": 0.6}

    def test_a_table_has_the_columns_of_numclip_predict(self, fitted: Path) -> None:
        table = tiny_predictor()(random_images(3)).to_pandas()
        assert list(table.columns) == [
            "path", "value", "phrase", "most_probable", "p(hardly any)", "p(many)", "spread",
        ]  # fmt: skip
        known = {name for name in rows_of(fitted / "test_predictions.csv")[0] if not name.startswith("p(")}
        assert {"path", "value", "phrase", "most_probable"} <= known


class TestTheSameImage:
    def test_alone_in_a_batch_and_in_another_order(self) -> None:
        images = random_images(7)
        together = values(tiny_predictor()(images))
        alone = [tiny_predictor()(image).value for image in images]
        backwards = values(tiny_predictor()(images[::-1]))[::-1]
        assert alone == pytest.approx(together, abs=1e-6 * RANGE)
        assert backwards == pytest.approx(together, abs=1e-6 * RANGE)

    def test_by_eight_threads_at_once(self) -> None:
        images = random_images(24)
        expected = [tiny_predictor()(image).value for image in images]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda image: tiny_predictor()(image).value, images)) == expected


class TestManyImages:
    def test_no_more_than_a_batch_is_held(self) -> None:
        alive = 0

        class Counted(np.ndarray):
            def __del__(self) -> None:
                nonlocal alive
                alive -= 1

        def images(number: int) -> Iterator[npt.NDArray[np.uint8]]:
            nonlocal alive
            for _ in range(number):
                alive += 1
                assert alive <= 3, "images pile up"
                yield np.zeros((40, 40, 3), dtype=np.uint8).view(Counted)

        predictor = OrdinalPredictor(tiny_predictor().halves, tiny_predictor().scale, RECIPE, batch_size=4)
        list(predictor.stream(images(8)))
        tracemalloc.start()
        try:
            for _ in predictor.stream(images(20)):
                pass
            start = tracemalloc.get_traced_memory()[0]
            for _ in predictor.stream(images(400)):
                pass
            assert tracemalloc.get_traced_memory()[0] - start < 100_000
        finally:
            tracemalloc.stop()

    def test_a_broken_image_stops_or_is_skipped_by_name(self, tmp_path: Path) -> None:
        images = random_images(3)
        for name, pixels in zip("abc", images, strict=True):
            Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:80])
        with pytest.raises(DataError, match=r"b\.png"):
            tiny_predictor()(tmp_path)
        found = tiny_predictor()(tmp_path, on_error="skip")
        assert [Path(one.source).name for one in found] == ["a.png", "c.png"]
        assert list(found.skipped) == [str(tmp_path / "b.png")]
        assert "b.png: skipped, can't read image" in str(found)
        with pytest.raises(DataError, match="image 1: "):
            tiny_predictor()([images[0], np.zeros(3)])
        with pytest.raises(ConfigError, match="choose one of 'raise', 'skip'"):
            tiny_predictor()(images[0], on_error="go on")  # type: ignore[arg-type]

    def test_an_empty_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("", encoding="utf-8")
        with pytest.raises(DataError, match=r"has no images; left out: 1 file with other suffixes \(\.txt 1\)"):
            tiny_predictor()(tmp_path)


class TestArguments:
    def test_half_precision_is_that_of_the_tower_alone(self) -> None:
        known = tiny_predictor()
        rough = OrdinalPredictor(known.halves, known.scale, known.recipe, precision="bfloat16")
        images = random_images(5)
        assert values(rough(images)) == pytest.approx(values(known(images)), abs=0.05 * RANGE)
        assert values(rough(images)) != values(known(images))

    def test_wrong_ones_are_refused(self) -> None:
        known = tiny_predictor()
        for arguments, message in (
            ({"precision": "int4"}, "precision is 'int4'"),
            ({"batch_size": 0}, "batch_size=0"),
            ({"batch_size": 2.5}, "batch_size=2.5 must be a whole number"),
            ({"device": "cuda:99"}, "device='cuda:99' can't be used"),
        ):
            with pytest.raises(ConfigError, match=message):
                OrdinalPredictor(known.halves, known.scale, known.recipe, **arguments)

    def test_a_recipe_that_lacks_something_is_refused(self) -> None:
        assert Recipe.of(RECIPE.to_dict()) == RECIPE
        with pytest.raises(ConfigError, match="can't be read"):
            Recipe.of({"mean": [0.0, 0.0, 0.0]})


class TestARun:
    def test_it_predicts_what_the_run_has_tested(self, fitted: Path, data: Path) -> None:
        tested = rows_of(fitted / "test_predictions.csv")
        expected = [float(row["value"]) for row in tested]
        for source in (fitted, fitted / "checkpoints" / "best.ckpt"):
            found = OrdinalPredictor.load(source)([data / row["path"] for row in tested])
            assert values(found) == pytest.approx(expected, abs=1e-4)
            assert [one.most_probable for one in found] == [row["most_probable"] for row in tested]

    def test_what_is_no_model_is_refused(self, tmp_path: Path, fitted: Path) -> None:
        text = tmp_path / "a.ckpt"
        text.write_text("no checkpoint", encoding="utf-8")
        moved = tmp_path / "lone" / "folder" / "b.ckpt"
        moved.parent.mkdir(parents=True)
        moved.write_bytes((fitted / "checkpoints" / "best.ckpt").read_bytes())
        for source, message in (
            (tmp_path / "nothing", "neither a file, a folder nor the name"),
            (tmp_path, "has no best.ckpt"),
            (text, "is no checkpoint, or was cut short"),
            (moved, "nothing says how its images were made"),
        ):
            with pytest.raises(ConfigError, match=message):
                OrdinalPredictor.load(source)
        with pytest.raises(ConfigError, match="None is no path; give a folder"):
            OrdinalPredictor.load(None)  # type: ignore[arg-type]
        assert OrdinalPredictor.load(moved, recipe=RECIPE).recipe == RECIPE

    def test_missing_weights_are_refused(self, fitted: Path, tmp_path: Path) -> None:
        whole = torch.load(fitted / "checkpoints" / "best.ckpt", weights_only=True)
        del whole["state_dict"]["fine_head.shift.bias"]
        torch.save(whole, tmp_path / "best.ckpt")
        with pytest.raises(ConfigError, match=r"untrained parts is none.*fine_head\.shift\.bias"):
            OrdinalPredictor.load(tmp_path / "best.ckpt", recipe=RECIPE)


def test_it_is_imported_in_two_seconds_without_a_trainer(tmp_path: Path) -> None:
    OrdinalPredictor.from_method(tiny_method(), RECIPE).save_pretrained(tmp_path)
    script = (
        "import sys, time, torch, numpy; start = time.process_time()\n"
        "from numclip_lightning import OrdinalPredictor\n"
        f"predictor = OrdinalPredictor.load({str(tmp_path)!r})\n"
        "predictor(numpy.zeros((9, 9, 3), numpy.uint8))\n"
        "print(time.process_time() - start, *{name.partition('.')[0] for name in sys.modules})"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    seconds, *modules = result.stdout.split()
    assert float(seconds) < 2
    assert not {"lightning", "pytorch_lightning", "open_clip", "timm", "torchvision", "pandas"} & set(modules)


def test_the_package_offers_it() -> None:
    assert numclip_lightning.OrdinalPredictor is OrdinalPredictor

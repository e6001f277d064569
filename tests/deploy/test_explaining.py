"""`numclip explain` and `numclip regions` on the embedded CLIP: maps, words, focus, a number for a region."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from numclip_lightning.cli import main
from numclip_lightning.data.counting import CountingDataModule
from numclip_lightning.data.counting.datamodule import normalise
from numclip_lightning.deploy import OrdinalPredictor
from numclip_lightning.deploy.explaining import Explainer
from numclip_lightning.deploy.prediction import Prediction
from numclip_lightning.deploy.regions import Region, read_regions, regions_of
from numclip_lightning.deploy.words import image_words, level_words
from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.methods.gda import GDA
from numclip_lightning.methods.ordinalclip import OrdinalCLIP
from numclip_lightning.methods.rankingaware import RankingAwareCLIP
from numclip_lightning.methods.zero_shot import ZeroShotCLIP
from numclip_lightning.scale import OrdinalScale
from support.command import rows_of
from support.predictors import tiny_method
from support.terminal import Terminal


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(OrdinalPredictor.load("mini", keep_text=True))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one scene of two halves, 128 x 64: few things on the left, many on the right."""
    folder = tmp_path_factory.mktemp("scenes")
    data = CountingDataModule(num_test=60, seed=3)
    pixels, targets = data.dataset("test").pixels, torch.tensor(data.labels("test").targets)
    few, many = int((targets == 2).nonzero()[0]), int((targets > 30).nonzero()[0])
    Image.fromarray(torch.cat([pixels[few], pixels[many]], dim=1).numpy()).save(folder / "pair.png")
    Image.fromarray(pixels[many].numpy()).save(folder / "many.png")
    mask = np.zeros((64, 128), dtype=np.uint8)
    mask[:, 64:] = 255
    Image.fromarray(mask).save(folder / "right.png")
    return folder


def numbers(found: Prediction) -> list[float]:
    return [found.value, *found.probabilities.values()]


def test_maps_are_in_the_unit_of_the_scale_and_written_as_pictures_and_numbers(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "explain",
        "--run",
        "mini",
        str(scenes / "many.png"),
        "--output",
        str(tmp_path),
        "--cells",
        "4",
        "--steps",
        "4",
    ]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"{scenes / 'many.png'}: " in said
    plain = OrdinalPredictor.load("mini")(scenes / "many.png")
    values, covered, gradient = (np.load(tmp_path / f"many.{name}.npy") for name in ("values", "occlusion", "gradient"))
    assert ((values >= 1) & (values <= 60)).all()
    assert covered.shape == (4, 4)
    assert gradient.shape == (64, 64)
    # Covering things of a crowd leaves fewer.
    assert covered.sum() > 0
    assert plain.value - covered.max() > 1
    for name in ("values", "occlusion", "gradient"):
        with Image.open(tmp_path / f"many.{name}.png") as picture:
            assert picture.size[0] > 2 * 256
        assert f"many.{name}.png" in said


def test_many_images_show_how_far_they_are_and_none_replaces_another(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    Image.open(scenes / "pair.png").save(tmp_path / "other" / "many.png")
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("numclip_lightning.progress._SECONDS", 0.0)
    files = [str(scenes / "many.png"), str(tmp_path / "other" / "many.png")]
    words = ["--maps=occlusion", "--cells=5", f"--output={tmp_path}"]
    assert main(["explain", "--run", "mini", *files, str(tmp_path / "other"), *words]) == 0
    shown = terminal.getvalue()
    assert "explaining images" in shown
    assert "0/3" in shown
    assert "covering squares" in shown, "within an image too"
    names = ["many", "many-2", "0000-many"]
    told = [f"  {tmp_path / name}.occlusion.png" for name in names]
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")] == told
    first, second, third = (np.load(tmp_path / f"{name}.occlusion.npy") for name in names)
    np.testing.assert_array_equal(second, third)
    assert not np.array_equal(first, second)


def test_a_focus_on_nothing_is_the_plain_image_and_on_a_colour_changes_nothing(
    explainer: Explainer, scenes: Path
) -> None:
    plain = explainer(scenes / "many.png", ()).prediction
    unfocused = explainer(scenes / "many.png", (), focus="a single thing", sharpness=0.0)
    assert numbers(unfocused.prediction) == numbers(plain)
    assert unfocused.focus is not None
    assert (unfocused.focus == 1).all()
    focused = explainer(scenes / "many.png", (), focus="a single thing")
    assert focused.focus is not None
    assert focused.focus.max() == 1
    assert focused.focus.min() < 0.99
    assert focused.prediction.value != plain.value


def test_the_words_of_each_level_are_those_that_its_own_images_favour(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "--run", "mini", "--words", "--most_images", "150", "--output", str(tmp_path)]) == 0
    rows = rows_of(tmp_path / "words.csv")
    strongest: dict[str, tuple[float, str]] = {}
    for row in rows:
        assert float(row["margin"]) > 0
        gain = float(row["own"]) - float(row["rest"])
        known = strongest.setdefault(row["phrase"], (gain, row["word"]))
        strongest[row["phrase"]] = max(known, (gain, row["word"]))
    assert {phrase: word for phrase, (_, word) in strongest.items()} == {
        "a single thing": "single", "a couple of things": "couple", "a few things": "few",
        "several things": "several", "many things": "many", "a crowd of things": "crowd",
        "countless things": "countless",
    }  # fmt: skip
    assert "contradicted" not in capsys.readouterr().out


@torch.no_grad()
def test_a_phrase_that_its_own_images_contradict_is_found() -> None:
    phrases = OrdinalPredictor.load("mini").scale.phrases
    phrases[1], phrases[5] = phrases[5], phrases[1]
    levels = [
        {"phrase": phrase, "start": start} for phrase, start in zip(phrases, (1, 2, 3, 5, 9, 17, 32), strict=True)
    ]
    scale = OrdinalScale(minimum=1, maximum=60, template="a picture of {}.", levels=levels)  # type: ignore[arg-type]
    method = ZeroShotCLIP(scale=scale, backbone="mini", pretrained="auto").eval()
    data = CountingDataModule(num_val=120)
    features = method.encode_images(normalise(data.dataset("val").pixels))
    found = level_words(method, features, torch.tensor(data.labels("val").targets))
    assert [level.phrase for level in found if level.contradicted] == [phrases[1], phrases[5]]
    assert sum(level.images for level in found) == 120
    # For one image, its own word is the best of its prompt.
    for phrase, scores in image_words(method, features[:1]):
        assert " ".join(word for word, _ in scores) == f"a picture of {phrase} ."


def test_a_region_that_is_the_image_is_the_plain_image_to_the_bit(explainer: Explainer, scenes: Path) -> None:
    for name, size in (("many.png", (64, 64)), ("pair.png", (128, 64))):
        plain = numbers(explainer.predictor(scenes / name))
        region = Region(path=scenes / name, box=(0, 0, *size), where="here")
        for by in ("crop", "mask", "both"):
            (found,) = regions_of(explainer, [region], by)
            assert numbers(found) == plain


def test_each_half_of_a_pair_is_read_as_itself(explainer: Explainer, scenes: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("path,x,y,w,h\npair.png,0,0,64,64\npair.png,64,0,64,64\n", encoding="utf-8")
    output = tmp_path / "out" / "regions.csv"
    words = ["regions", "--run", "mini", "--list", str(listed), "--root", str(scenes), "--output", str(output)]
    assert main(words) == 0
    few, many = rows_of(output)
    assert float(few["value"]) < 6
    assert float(many["value"]) > 20
    # A crop of the right half is that image.
    assert float(many["value"]) == pytest.approx(explainer.predictor(scenes / "many.png").value, abs=1e-4)
    assert (many["x"], many["w"], many["mask"]) == ("64", "64", "")
    swapped = list(regions_of(explainer, read_regions(listed, scenes)[::-1]))
    assert [one.value for one in swapped] == pytest.approx([float(many["value"]), float(few["value"])], rel=1e-6)


def test_a_mask_reads_what_is_white(explainer: Explainer, scenes: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("path,mask\npair.png,right.png\n", encoding="utf-8")
    (region,) = read_regions(listed, scenes)
    box = Region(path=scenes / "pair.png", box=(64, 0, 64, 64), where="here")
    for by in ("crop", "mask", "both"):
        masked, boxed = regions_of(explainer, [region, box], by)
        assert numbers(masked) == numbers(boxed)
    whole = explainer.predictor(scenes / "pair.png")
    (within,) = regions_of(explainer, [region], "mask")
    assert within.value != whole.value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,x,y,w,h\npair.png,100,0,64,64\n", "list.csv:2: the box x=100 y=0 w=64 h=64 is not within"),
        ("path,x,y,w,h\npair.png,0,0,ten,64\n", "w='ten', h='64' is no box"),
        ("path,x,y,w,h\npair.png,0,0,0,64\n", "is not within"),
        ("path,x\npair.png,0\n", "give a header with path and x,y,w,h"),
        ("", "give a header"),
        ("path,mask\npair.png,missing.png\n", "can't read the mask"),
        ("path,mask\nmany.png,right.png\n", "128 x 64 pixels, its image 64 x 64"),
        ("path,mask\nmany.png,black.png\n", "is empty; make what counts white"),
        ("path,x,y,w,h\n,0,0,5,5\n", "the path is empty"),
    ],
)
def test_a_bad_region_is_named_with_its_line(
    text: str, message: str, explainer: Explainer, scenes: Path, tmp_path: Path
) -> None:
    Image.new("L", (64, 64)).save(scenes / "black.png")
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        list(regions_of(explainer, read_regions(tmp_path / "list.csv", scenes)))


def test_a_region_in_the_edge_that_is_cut_is_refused_and_can_be_cropped(explainer: Explainer, scenes: Path) -> None:
    edge = Region(path=scenes / "pair.png", box=(0, 0, 20, 64), where="here")
    with pytest.raises(DataError, match="nothing of the region is left"):
        list(regions_of(explainer, [edge], "mask"))
    assert len(list(regions_of(explainer, [edge], "crop"))) == 1


def test_a_method_that_can_not_be_explained_says_what_can(scenes: Path, tmp_path: Path) -> None:
    patches = Explainer(OrdinalPredictor.from_method(tiny_method(RankingAwareCLIP)))
    with pytest.raises(ConfigError, match="reads its patches by itself"):
        patches(scenes / "many.png", ("values",))
    assert patches(scenes / "many.png", ("occlusion", "gradient"), steps=2).maps["gradient"].shape == (32, 32)
    with pytest.raises(ConfigError, match="no prompts of words"):
        image_words(tiny_method(OrdinalCLIP), torch.randn(1, 24))
    with pytest.raises(ConfigError, match="maps is 'heat'"):
        patches(scenes / "many.png", ("heat",))  # type: ignore[arg-type]
    exported = tmp_path / "exported"
    OrdinalPredictor.from_method(tiny_method(GDA)).save_pretrained(exported)
    with pytest.raises(ConfigError, match="holds no towers"):
        Explainer(OrdinalPredictor.load(exported))
    assert main(["explain", "--run", "mini"]) == 2


def test_one_image_can_have_its_words_in_a_table(scenes: Path, tmp_path: Path) -> None:
    words = [
        "explain",
        "--run",
        "mini",
        str(scenes / "many.png"),
        "--maps",
        "",
        "--words",
        "true",
        "--most_images",
        "20",
    ]
    assert main([*words, "--output", str(tmp_path)]) == 0
    with (tmp_path / "many.words.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["phrase"] for row in rows} == set(OrdinalPredictor.load("mini").scale.phrases)
    assert rows[0]["word"] == "a"

"""`numclip start`: what it proposes is read by a fit, and says its reasons; bad input says what would do."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from numclip_lightning.cli import main
from numclip_lightning.commands.start_scale import propose_scale
from numclip_lightning.data.base.word_order import order_words
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.methods.base.many_values import check_number_of_values
from numclip_lightning.runs.command import NumClipCLI
from numclip_lightning.scale import OrdinalScale
from support.command import TINY
from support.fake_data import make_images
from support.tiny_clip import register_tiny_clips

register_tiny_clips()
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")


def started(path: Path, folder: Path, *words: str) -> dict[str, Any]:
    """The configuration for a list or folder."""
    file = folder / "mine.yaml"
    assert main(["start", str(path), f"--output={file}", *words]) == 0
    return yaml.safe_load(file.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def arguments(config: dict[str, Any]) -> dict[str, Any]:
    return config["data"]["init_args"]  # type: ignore[no-any-return]


def scale_of(config: dict[str, Any]) -> OrdinalScale:
    return OrdinalScale(**config["model"]["init_args"]["scale"])


def write(file: Path, rows: list[str]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(rows), encoding="utf-8")
    return file


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_images(tmp_path / "images", [f"{i}.png" for i in range(20)])
    return tmp_path


def test_a_list_with_patients_is_split_by_them(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["file_name;patient_id;site;KL_grade", *(f"{i}.png;p{i // 2};a;{i % 5}" for i in range(20))]
    config = started(write(photos / "knees.csv", rows), photos, "--backbone=mini")
    assert arguments(config) == {
        "train_file": str(photos / "knees.csv"), "root": str(photos / "images"), "group_column": "patient_id",
        "target_column": "KL_grade", "test_fraction": 0.2, "val_fraction": 0.25, "batch_size": 32,
    }  # fmt: skip
    assert scale_of(config).phrases[0] == "no findings"
    printed = capsys.readouterr().out
    assert "The column 'patient_id' has 10 values for 20 images: those stay together." in printed
    assert f"numclip fit --config {photos / 'mine.yaml'} --test_after_fit true" in printed
    data = ListDataModule(**arguments(config))
    groups = [{label.group for label in data.labels(split)} for split in ("train", "test")]
    assert not groups[0] & groups[1]
    # A fit takes all of it.
    built = NumClipCLI(["fit", f"--config={photos / 'mine.yaml'}"], until="built")
    assert built.model.scale.num_levels == 5


def test_more_of_few_images_validate(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["path,age", *(f"{i}.png,{i % 5}" for i in range(20))]
    found = arguments(started(write(photos / "list.csv", rows), photos))
    sizes = [len(ListDataModule(**found).labels(split)) for split in ("train", "val", "test")]
    assert sizes == [12, 4, 4]
    printed = capsys.readouterr().out
    assert "a quarter of those that are not for testing validates" in printed
    assert "4 images validate: the best epoch and intervals are found on them" in printed
    (photos / "mine.yaml").unlink()
    split = ["path,age,split", *(f"{i}.png,{i % 5},{('train', 'val', 'test')[i % 3]}" for i in range(20))]
    assert "val_fraction" not in arguments(started(write(photos / "list.csv", split), photos))
    assert "7 images validate" in capsys.readouterr().out


def test_other_forms_of_lists(photos: Path) -> None:
    """JSON lines of the Hub, a list without header, a column of splits, raters, lists of splits, decimal commas."""
    lines = [json.dumps({"file_name": f"{i}.png", "age": 20 + i, "split": ["train", "test"][i % 2]}) for i in range(20)]
    found = arguments(started(write(photos / "images" / "metadata.jsonl", lines), photos))
    assert (found["split_column"], found["target_column"], found["root"]) == ("split", "age", str(photos / "images"))
    (photos / "mine.yaml").unlink()

    plain = write(photos / "plain.txt", [f"images/{i}.png {i}" for i in range(20)])
    found = arguments(started(plain, photos))
    assert (found["root"], found["test_fraction"]) == (str(photos), 0.2)
    (photos / "mine.yaml").unlink()

    rated = write(photos / "rated.csv", ["path,rater_a,rater_b", *(f"{i}.png,{i % 3},{i % 5}" for i in range(20))])
    assert arguments(started(rated, photos))["rater_columns"] == ["rater_a", "rater_b"]
    (photos / "mine.yaml").unlink()

    several = write(photos / "several.csv", ["path,score", *(f"{i % 10}.png,{i % 3}" for i in range(20))])
    assert arguments(started(several, photos))["repeats"] == "votes"
    (photos / "mine.yaml").unlink()

    comma = write(photos / "comma.csv", ["path;price", *(f"{i}.png;{i},5" for i in range(20))])
    scale = scale_of(started(comma, photos))
    assert (scale.minimum, scale.maximum, scale.step) == (0.5, 19.5, 0.1)
    (photos / "mine.yaml").unlink()

    for split, numbers in (("train", range(12)), ("val", range(12, 16)), ("test", range(16, 20))):
        write(photos / "lists" / f"{split}.csv", ["path,count", *(f"{i}.png,{i}" for i in numbers)])
    for path in (photos / "lists", photos / "lists" / "train.csv"):
        found = arguments(started(path, photos))
        assert [Path(found[f"{split}_file"]).name for split in ("train", "val", "test")] == [
            "train.csv", "val.csv", "test.csv",
        ]  # fmt: skip
        assert found["root"] == str(photos / "images")
        (photos / "mine.yaml").unlink()


@pytest.mark.parametrize("end", ["\n", "\r", "\x85", "\u2028"])
def test_a_name_with_line_breaks_adds_nothing_to_the_configuration(photos: Path, end: str) -> None:
    attack = f"age{end}on_non_finite: skip"
    folder = photos / attack
    (photos / "images").rename(folder)
    rows = [f'path,"{attack}"', *(f'"{attack}/{i}.png",{i % 5}' for i in range(20))]
    file = write(photos / "list.csv", rows)
    config = started(file, photos, "--backbone=mini")
    assert "on_non_finite" not in config
    assert arguments(config)["train_file"] == str(file)


def test_words_become_numbers_in_a_list(photos: Path) -> None:
    words = ("severe", "none", "mild")
    rows = ["path,finding,person", *(f"{i}.png,{words[i % 3]},p{i // 4}" for i in range(20))]
    config = started(write(photos / "words.csv", rows), photos)
    assert scale_of(config).phrases == ["none", "mild", "severe"]
    written = (photos / "mine_numbers.csv").read_text(encoding="utf-8").splitlines()
    assert written[:3] == ["path,finding,person,finding number", "0.png,severe,p0,2", "1.png,none,p0,0"]
    data = ListDataModule(**arguments(config))
    assert set(data.labels("train").targets) == {0.0, 1.0, 2.0}
    assert data.labels("train")[0].group is not None


def test_folders_of_numbers_and_of_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "valid", "test"):
        for grade in (0, 1, 2):
            make_images(tmp_path / "knees" / split / f"KL{grade}", [f"{split}{grade}{i}.png" for i in range(3)])
    found = arguments(started(tmp_path / "knees", tmp_path))
    assert found["train_file"] == str(tmp_path / "knees" / "train")
    assert found["val_file"] == str(tmp_path / "knees" / "valid")
    (tmp_path / "mine.yaml").unlink()
    for word in ("ripe", "green", "rotten"):
        make_images(tmp_path / "fruit" / word, [f"{word}{i}.png" for i in range(5)])
    config = started(tmp_path / "fruit", tmp_path)
    assert scale_of(config).phrases == ["green", "ripe", "rotten"]
    assert len(ListDataModule(**arguments(config)).labels("test")) == 3
    (tmp_path / "mine.yaml").unlink()
    (tmp_path / "mine_numbers.csv").unlink()
    for word in ("zebra", "ape"):
        make_images(tmp_path / "zoo" / word, [f"{word}{i}.png" for i in range(5)])
    capsys.readouterr()
    started(tmp_path / "zoo", tmp_path)
    assert "EDIT: the order is that of the alphabet: ape, zebra." in capsys.readouterr().out


def test_from_a_folder_to_a_prediction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The commands that are printed lead on: from a folder to a fit, from the fit to new images."""
    for word in ("none", "mild", "severe"):
        make_images(tmp_path / "damage" / word, [f"{word}{i}.png" for i in range(8)], size=(32, 32))
    make_images(tmp_path / "new", ["a.png", "b.png"], size=(32, 32))
    started(tmp_path / "damage", tmp_path)
    fit = capsys.readouterr().out.rstrip().splitlines()[-1].split()
    small = [
        "--trainer.max_epochs=1",
        "--length.steps=2",
        "--length.min_epochs=1",
        f"--trainer.default_root_dir={tmp_path / 'runs'}",
    ]
    assert main([*fit[1:], *TINY, *small, "--trainer.accelerator=cpu", "--report=false"]) == 0
    printed = capsys.readouterr().out.rstrip().splitlines()
    assert printed[-2] == "To read new images:"
    words = shlex.split(printed[-1])
    predict = words[words.index("predict") :]
    assert main([*predict[:-1], str(tmp_path / "new"), "--data.num_workers=0"]) == 0
    rows = [file.read_text(encoding="utf-8") for file in tmp_path.rglob("predictions.csv")]
    assert [line.split(",")[0] for line in rows[0].splitlines()] == ["path", "a.png", "b.png"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "doesn't exist; give a list, or a folder of images"),
        ("empty", "has neither a list nor an image"),
        ("loose", "has images but no list of their numbers; add a CSV file with the columns path and target"),
        ("loose/0.png", "is one image; give a list"),
        ("two", "has several lists (a.csv, b.csv) and none is called train; give one of them"),
        ("ids.csv", "no column has numbers, or a few words; the columns are note"),
        ("nopath.csv", "no column has the names of images; the columns are a, b"),
        ("header.csv", "has a header but no entries"),
        ("same.csv", "all 9 images have the number 3: there is nothing to learn"),
        ("old.yaml", "is a configuration; give a list of images"),
        ("apples", "has only the folder 'apple' of images, which are no grades"),
    ],
)
def test_what_it_can_not_guess(name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    make_images(tmp_path / "loose", ["0.png"])
    for file in ("a.csv", "b.csv"):
        write(tmp_path / "two" / file, ["path,score", "a.png,1"])
    write(tmp_path / "ids.csv", ["path,note", *(f"{i}.png,text {i}" for i in range(9))])
    write(tmp_path / "nopath.csv", ["a,b", "x,1", "y,2"])
    write(tmp_path / "header.csv", ["path,score"])
    write(tmp_path / "same.csv", ["path,score", *(f"{i}.png,3" for i in range(9))])
    write(tmp_path / "old.yaml", ["model: {}"])
    make_images(tmp_path / "apples" / "apple", ["0.png"])
    assert main(["start", str(tmp_path / name), f"--output={tmp_path / 'mine.yaml'}"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "mine.yaml").exists()


@pytest.mark.parametrize(
    ("header", "cells", "target", "group"),
    [
        # What only counts lines, or is a fact of the file, is not what was measured.
        ("id,path,firmness", "{i},{i}.png,{grade}", "firmness", None),
        ("path,width,height,freshness", "{i}.png,64{i},480,{grade}", "freshness", None),
        ("path,height", "{i}.png,{grade}", "height", None),
        # The sex or age of a patient, and a number of persons, hold no images together.
        ("path,patient_sex,patient_age", "{i}.png,{two},{grade}", "patient_age", None),
        ("path,person_count", "{i}.png,{grade}", "person_count", None),
        ("path,age_group,age", "{i}.png,{two},{i}", "age", None),
        ("path,Patient Age,patientID", "{i}.png,{grade},p{half}", "Patient Age", "patientID"),
        ("path,score,case_no", "{i}.png,{grade},{half}", "score", "case_no"),
        # Two groups can't be three splits.
        ("path,score,group", "{i}.png,{grade},{two}", "score", None),
    ],
)
def test_columns_are_told_apart_by_what_they_are(
    header: str, cells: str, target: str, group: str | None, photos: Path
) -> None:
    rows = [cells.format(i=i, grade=i % 4, two="ab"[i % 2], half=i // 2) for i in range(20)]
    found = arguments(started(write(photos / "list.csv", [header, *rows]), photos))
    assert (found["target_column"], found.get("group_column")) == (target, group)
    assert len(ListDataModule(**found).labels("test")) > 0


def test_remarks_beside_folders_of_grades_are_no_lists(tmp_path: Path) -> None:
    for grade in (0, 1):
        make_images(tmp_path / "data" / f"{grade}", [f"{grade}{i}.png" for i in range(4)])
    for name in ("README.txt", "README.roboflow.txt", "classes.json"):
        write(tmp_path / "data" / name, ["A data set of fruits.", "Licence: CC BY 4.0"])
    assert arguments(started(tmp_path / "data", tmp_path))["train_file"] == str(tmp_path / "data")


def test_words_of_a_list_are_numbered_beside_it_in_its_own_folder(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photos)
    rows = ["path,finding", *(f"{i}.png,{('mild', 'severe')[i % 2]}" for i in range(20))]
    before = write(photos / "list.csv", rows).read_bytes()
    assert main(["start", "list.csv", "--output=list.csv"]) == 2
    assert "no name of a configuration; give a file that ends in .yaml" in capsys.readouterr().err
    assert main(["start", "list.csv"]) == 0
    config = yaml.safe_load((photos / "list.yaml").read_text(encoding="utf-8"))
    assert arguments(config)["train_file"] == "list_numbers.csv"
    assert (photos / "list.csv").read_bytes() == before


def test_another_backbone_gets_weights_that_fit_it(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(photos / "list.csv", ["path,score", *(f"{i}.png,{i}" for i in range(20))])
    assert main(["start", str(source), f"--output={photos / 'mine.yaml'}", "--backbone=ViT-B-61-quickgelu"]) == 2
    assert "is not a model of open_clip; did you mean 'ViT-B-16-quickgelu'" in capsys.readouterr().err
    for backbone, weights in (("ViT-B-32-quickgelu", "openai"), ("ViT-B-16", "laion400m_e31"), ("hf-hub:a/b", "auto")):
        config = started(source, photos, f"--backbone={backbone}")
        assert config["model"]["init_args"]["pretrained"] == weights
        (photos / "mine.yaml").unlink()
    assert "EDIT: pretrained is laion400m_e31 (others that fit: laion400m_e32, " in capsys.readouterr().out


def test_nothing_is_overwritten(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(photos / "list.csv", ["path,score", *(f"{i}.png,{i}" for i in range(20))])
    write(photos / "mine.yaml", ["mine"])
    assert main(["start", str(photos / "list.csv"), f"--output={photos / 'mine.yaml'}"]) == 2
    assert "mine.yaml exists; give another one with --output" in capsys.readouterr().err
    assert (photos / "mine.yaml").read_text() == "mine"


class TestScales:
    @pytest.mark.parametrize("name", ["age", "num_people", "score", "year", "price", "KL-grade", "thing", ""])
    @pytest.mark.parametrize("kind", ["few", "many", "fractions", "huge", "one", "negative"])
    def test_hold_all_numbers(self, name: str, kind: str) -> None:
        rng = np.random.default_rng(0)
        numbers = {
            "few": rng.integers(0, 5, 50), "many": rng.integers(3, 90, 200), "fractions": rng.normal(3.3, 0.8, 99),
            "huge": rng.integers(0, 2_000_000, 60), "one": np.full(4, 7), "negative": rng.normal(-50, 7, 40),
        }[kind].tolist()  # fmt: skip
        proposed = propose_scale(numbers, name)
        scale = OrdinalScale(**proposed.arguments)
        for number in numbers:
            scale.to_level(number)
        assert scale.num_ranks <= 2501
        assert len(set(scale.phrases)) == scale.num_levels
        assert any("phrases are guesses" in reason for reason in proposed.reasons)

    @pytest.mark.parametrize(("high", "step"), [(2000, 1), (3139, 2), (10_000, 10), (10_001, 10), (98_000, 50)])
    def test_the_recommended_method_takes_whole_numbers_of_any_range(self, high: int, step: int) -> None:
        scale = OrdinalScale(**propose_scale([0, 7, 90, high], "count").arguments)
        assert scale.step == step
        check_number_of_values("NumCLIPPlus", scale)

    def test_levels_hold_about_as_many_images_each(self) -> None:
        numbers = np.random.default_rng(1).integers(0, 101, 1000).tolist()
        scale = OrdinalScale(**propose_scale(numbers, "age").arguments)
        counts = np.bincount([int(scale.to_level(number)) for number in numbers])
        assert len(counts) == 5
        assert counts.min() > 150


def test_counted_things_are_named_as_in_a_caption() -> None:
    levels = propose_scale([0, 1, 5], "fingers").arguments["levels"]
    assert [level["phrase"] for level in levels] == [
        "0 fingers", "1 finger", "2 fingers", "3 fingers", "4 fingers", "5 fingers"
    ]  # fmt: skip


def test_words_are_put_in_order() -> None:
    assert order_words(["Moderate", "no DR", "Severe", "Mild", "Proliferative"]) == (
        ["no DR", "Mild", "Moderate", "Severe", "Proliferative"], True,
    )  # fmt: skip
    assert order_words(["grade_II", "grade_I", "grade_III"])[0] == ["grade_I", "grade_II", "grade_III"]
    assert order_words(["small dog", "big dog", "medium dog"]) == (["small dog", "medium dog", "big dog"], True)
    assert order_words(["10-19", "5-9", "100+"]) == (["5-9", "10-19", "100+"], True)
    assert order_words(["mild", "slight"]) == (["mild", "slight"], False)

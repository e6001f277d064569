"""`numclip check`: everything that is wrong with a small set of images is listed, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from numclip_lightning.cli import main
from numclip_lightning.data.base.survey import histogram
from support.command import failure

CONFIG = """\
model:
  class_path: NumCLIP
  init_args:
    backbone: mini
    pretrained: auto
    scale:
      minimum: 1
      maximum: 9
      unit: points
      template: a picture of {}.
      levels: [{phrase: a few, start: 1}, {phrase: many, start: 5}]
data:
  class_path: ListDataModule
  init_args: {root: ROOT, train_file: train.csv, val_file: val.csv, test_file: test.csv, num_workers: 0}
trainer: {max_epochs: 1}
"""


def paint(file: Path, shade: int, size: tuple[int, int] = (20, 10)) -> None:
    image = Image.new("RGB", size, (shade, 255 - shade, 90))
    image.putpixel((shade % size[0], shade % size[1]), (0, 0, 0))
    image.save(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight different images in three lists, and a configuration."""
    for number in range(8):
        paint(tmp_path / f"{number}.png", 30 * number)
    lists = {"train": [(0, 1), (1, 2), (2, 5), (3, 9)], "val": [(4, 1), (5, 6)], "test": [(6, 2), (7, 7)]}
    for name, rows in lists.items():
        write(tmp_path / f"{name}.csv", [(f"{number}.png", target) for number, target in rows])
    (tmp_path / "config.yaml").write_text(CONFIG.replace("ROOT", str(tmp_path)), encoding="utf-8")
    return tmp_path


def write(file: Path, rows: list[tuple[Any, ...]], heading: str = "path,points") -> None:
    lines = [heading, *(",".join(map(str, row)) for row in rows)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def facts_of(folder: Path, *words: str, code: int) -> dict[str, Any]:
    words = ("check", "--config", str(folder / "config.yaml"), "--output", str(folder / "found"), *words)
    assert main(words) == code
    found: dict[str, Any] = json.loads((folder / "found" / "check.json").read_text(encoding="utf-8"))
    return found


def test_a_sound_set_is_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = facts_of(folder, "--near", "null", code=0)
    train, val, test = found["parts"]
    assert [part["images"] for part in (train, val, test)] == [4, 2, 2]
    assert (train["low"], train["high"], train["median"], train["values"]) == (1, 9, 3.5, 4)
    assert train["levels"] == {"a few": 2, "many": 2}
    assert train["sizes"] == {"smallest": [20, 10], "median": [20, 10], "largest": [20, 10]}
    assert train["modes"] == {"RGB": 4}
    assert found["copies"]["number"] == found["contradictions"]["number"] == train["faults"]["number"] == 0
    out = capsys.readouterr().out
    assert "train: 4 images\n  numbers 1 to 9 points, median 3.5, 4 different ones\n  a few       2 ####" in out
    assert "  over the scale:\n  1       1 ####" in out
    assert "nothing wrong was found" in out


def test_a_number_off_the_scale_and_a_level_without_images_are_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "val.csv", [("4.png", 1), ("5.png", 60)])
    found = facts_of(folder, "--near", "null", code=1)
    assert found["mend"] == ["1 numbers are outside the scale"]
    out = capsys.readouterr().out
    assert "  no image of: many" in out
    assert "1 numbers are outside the scale" in out


def test_an_overlay_leaves_scale_and_backbone_as_they_are(folder: Path) -> None:
    overlay = folder / "overlay.yaml"
    overlay.write_text("model: {class_path: CORAL, init_args: {decode: median}}\n", encoding="utf-8")
    found = facts_of(folder, "--config", str(overlay), "--near", "null", code=0)
    assert found["parts"][0]["levels"] == {"a few": 2, "many": 2}
    assert found["unit"] == "points"


def test_all_faults_are_listed_in_one_go(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:40])
    (folder / "copy.png").write_bytes((folder / "1.png").read_bytes())
    (folder / "other.png").write_bytes((folder / "2.png").read_bytes())
    paint(folder / "large.png", 77, (60, 40))
    write(
        folder / "train.csv",
        [("0.png", 1, "a"), ("1.png", 2, "b"), ("2.png", 5, "b"), ("other.png", 8, "b"), ("broken.png", 3, "c"),
         ("gone.png", 4, "c"), ("large.png", 12, "d")],
        "path,points,patient",
    )  # fmt: skip
    write(folder / "test.csv", [("copy.png", 2, "a"), ("7.png", 7, "z")], "path,points,patient")
    found = facts_of(folder, "--near", "null", "--data.group_column=patient", "--data.val_file=null", code=1)
    train = next(part for part in found["parts"] if part["name"] == "train")
    everything = [fault for part in found["parts"] for fault in part["faults"]["first"]]
    assert {fault["path"]: fault["reason"].split(":")[0] for fault in everything} == {
        "broken.png": "unreadable",
        "gone.png": "missing",
    }
    assert {fault["where"].rpartition("/")[2] for fault in everything} == {"train.csv:6", "train.csv:7"}
    assert sum(part.get("off_scale", 0) for part in found["parts"]) == 1
    assert found["copies"] == {"number": 1, "across": 1, "first": found["copies"]["first"]}
    assert {found["copies"]["first"][0][name] for name in ("path", "other_path")} == {"copy.png", "1.png"}
    wrong = found["contradictions"]["first"][0]
    assert {wrong["path"]: wrong["target"], wrong["other_path"]: wrong["other_target"]} == {"2.png": 5, "other.png": 8}
    assert any(shared["first"] == ["a"] for shared in found["shared_groups"])
    assert train["groups"] >= 1
    out = capsys.readouterr().out
    assert found["mend"] == [
        "2 images can't be used", "1 numbers are outside the scale", "1 images have two numbers",
        "1 images are in two splits", "1 groups are in two splits",
    ]  # fmt: skip
    assert f"correct before training: {'; '.join(found['mend'])}" in out
    assert "images twice, with equal numbers: 1 pair (1 in two splits)" in out
    page = (folder / "found" / "check.html").read_text(encoding="utf-8")
    assert "broken.png" in page
    assert not re.findall(r"https?://(?!www\.w3\.org)", page), "nothing is fetched"


def test_a_list_that_is_missing_or_bad_hides_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "test.csv", [("6.png", "six")])
    (folder / "val.csv").unlink()
    found = facts_of(folder, "--near", "null", code=1)
    assert found["mend"] == ["the test list can't be read"]
    missing = {part["name"]: part["missing"] for part in found["parts"]}
    assert missing["train"] == ""
    assert "val.csv" in missing["val"]
    assert "six" in missing["test"]
    assert "train: 4 images" in capsys.readouterr().out


def test_lists_that_are_all_missing_are_no_sound_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("train", "val", "test"):
        (folder / f"{part}.csv").unlink()
    assert facts_of(folder, "--near", "null", code=1)["mend"] == ["there is no image: every list is missing or empty"]
    assert "every list is missing" in capsys.readouterr().out


def test_images_nearly_the_same_and_variety_need_a_backbone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Image.open(folder / "0.png") as image:
        image.putpixel((3, 3), (31, 224, 90))
        image.save(folder / "near.png")
    write(folder / "val.csv", [("near.png", 2), ("5.png", 6)])
    found = facts_of(folder, "--near", "0.9999", code=0)
    assert [{pair["path"], pair["other_path"]} for pair in found["near"]["first"]] == [{"0.png", "near.png"}]
    assert found["near"]["across"] == 1
    assert 0 < found["variety"]["explained"] < 1
    assert set(found["variety"]["diversity"]) == {"a few", "many"}
    out = capsys.readouterr().out
    assert "images nearly the same (cosine of 0.9999 or more): 1 pair" in out
    assert out.endswith("nothing wrong was found; look at the pair in two splits: a copy makes results too good\n")
    assert found["copies"]["number"] == 0


def test_a_bad_image_does_not_end_the_check_where_pixels_are_kept(folder: Path) -> None:
    (folder / "1.png").write_bytes(b"")
    found = facts_of(folder, "--near", "0.9999", "--data.cache=memory", code=1)
    assert 0 < found["variety"]["explained"] < 1


def test_attributes_are_held_against_the_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, rows in {"train": [(0, 1, "x"), (1, 3, "x"), (2, 7, "y"), (3, 9, "y")], "val": [(4, 2, "x")],
                       "test": [(6, 8, "y")]}.items():  # fmt: skip
        write(folder / f"{name}.csv", [(f"{n}.png", target, site) for n, target, site in rows], "path,points,site")
    found = facts_of(folder, "--near", "null", "--data.attributes=[site]", code=0)["attributes"]["site"]
    assert found["values"]["x"] == {"images": 3, "mean": 2, "deviation": pytest.approx((2 / 3) ** 0.5)}
    total = sum((y - 5) ** 2 for y in (1, 3, 7, 9, 2, 8))
    assert found["explained"] == pytest.approx(1 - 4 / total)
    assert "site explains 93% of the variance of the numbers" in capsys.readouterr().out


def test_generated_scenes_have_numbers_and_no_files(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", "--data=CountingDataModule", "--data.num_train=30", "--data.num_val=5", "--data.num_test=5"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "train: 30 images" in out
    assert "sizes" not in out


def test_a_cosine_that_is_none_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert failure("check", "--config", str(folder / "config.yaml"), "--near", "2") == 2
    assert "--near is 2.0; give a cosine" in capsys.readouterr().err


def test_a_histogram_counts_every_number_once() -> None:
    assert histogram([1.0, 2.0, 2.0]) == [(1.0, 1.0, 1), (2.0, 2.0, 2)]
    wide = histogram([float(n) for n in range(100)], most=10)
    assert [count for *_, count in wide] == [10] * 10
    assert (wide[0][0], wide[-1][1]) == (0, 99)

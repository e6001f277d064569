import re
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pytest

from numclip_lightning.data.base import LabelTable
from numclip_lightning.data.morph import MorphDataModule
from numclip_lightning.errors import ConfigError, DataError
from support.fake_data import make_image, make_morph
from support.places import DATALISTS, needs_lists

LISTS = DATALISTS / "morph"


def groups(table: LabelTable) -> set[str | None]:
    return {label.group for label in table}


def test_published_layout(tmp_path: Path) -> None:
    make_morph(tmp_path, train=40, test=10)
    data = MorphDataModule(root=str(tmp_path), num_workers=0, image_size=8)
    data.setup("fit")
    data.setup("test")
    assert [len(data.labels(split)) for split in ("train", "val", "test")] == [36, 4, 10]
    assert not groups(data.labels("train")) & groups(data.labels("val"))
    assert "100000" in groups(data.labels("train")) | groups(data.labels("val"))


def test_et_lists_are_clean_by_default(tmp_path: Path) -> None:
    names = [f"{subject}_{i}F{20 + i}.JPG" for subject in range(100, 130) for i in range(2)]
    for split, part in (("train", names[:40]), ("val", names[40:])):
        (tmp_path / f"ET_proto_{split}.txt").write_text("".join(f"{name} {name[-6:-4]}\n" for name in part))
    clean = MorphDataModule(root=str(tmp_path), setting="ET", check_images="none")
    clean.setup("fit")
    assert [len(clean.labels(split)) for split in ("train", "val", "test")] == [36, 4, 20]
    published = MorphDataModule(root=str(tmp_path), setting="ET", select_on="test", check_images="none")
    published.setup("fit")
    assert len(published.labels("train")) == 40
    assert [label.path for label in published.labels("val")] == names[40:]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("307471_06F29.JPG 15", r"mine\.txt:2: '307471_06F29\.JPG' is labelled 15, but its name says age 29; correct"),
        (
            "holiday.jpg 15",
            r"mine\.txt:2: 'holiday\.jpg' is not a MORPH name such as 101157_5F39\.JPG; read other",
        ),
    ],
)
def test_names_are_compared_with_labels(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "mine.txt").write_text(f"../../datasets/Morph/image/070081_2F36.JPG 36\n{line}\n")
    with pytest.raises(DataError, match=message):
        MorphDataModule(root=str(tmp_path), train_file="mine.txt").setup("fit")
    data = MorphDataModule(root=str(tmp_path), predict_path="mine.txt", check_images="none")
    assert len(data.labels("predict")) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"setting": "F"}, "setting is 'F'; choose one of 'A', 'B', 'C', 'D', 'ET'"),
        ({"setting": "A", "fold": 5}, "fold=5 doesn't exist in setting='A'; choose 0 to 4"),
        ({"setting": "B", "fold": 3}, "choose 0 to 2"),
        ({"setting": "ET", "fold": 1}, "choose 0 to 0"),
        ({"fold": -1}, "fold=-1 doesn't exist"),
        ({"setting": "C", "train_parts": 2}, "train_parts=2 with setting='C': only setting B has parts to choose"),
        ({"setting": "B", "train_parts": 3}, "train_parts=3 with setting='B': .* 1 or 2 of three"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MorphDataModule(**options)


def test_missing_lists(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no train list; .* put Setting_A_fold0_train\.txt into .*'settingA'"):
        MorphDataModule(root=str(tmp_path)).setup("fit")
    (tmp_path / "Setting_B_fold2.txt").write_text("1_0M20.JPG 20\n")
    with pytest.raises(
        DataError, match=r"some lists of the test split are missing; put Setting_B_fold2\.txt, Setting_B_f"
    ):
        MorphDataModule(root=str(tmp_path), setting="B").setup("test")


@needs_lists
@pytest.mark.parametrize(
    ("setting", "fold", "train", "test"),
    [
        ("A", 0, ["Setting_A_fold0_train.txt"], ["Setting_A_fold0_test.txt"]),
        ("A", 3, ["Setting_A_fold3_train.txt"], ["Setting_A_fold3_test.txt"]),
        ("B", 0, ["Setting_B_fold0.txt"], ["Setting_B_fold2.txt", "Setting_B_fold1.txt"]),
        ("B", 1, ["Setting_B_fold2.txt"], ["Setting_B_fold0.txt", "Setting_B_fold1.txt"]),
        pytest.param("C", 0, [f"morph_D_0{i}.txt" for i in range(1, 5)], ["morph_D_00.txt"], marks=pytest.mark.slow),
    ],
)
def test_real_lists(setting: Literal["A", "B", "C"], fold: int, train: list[str], test: list[str]) -> None:
    """L2RCLIP's files have settings C and D, and parts 2 and 3 of B, exchanged."""
    data = MorphDataModule(root=str(LISTS), setting=setting, fold=fold, check_images="none")
    data.setup("fit")
    data.setup("test")

    def ages(files: list[str]) -> Counter[float]:
        """Ages by the file names alone."""
        lines = [
            line
            for file in files
            for line in (LISTS / f"setting{'D' if setting == 'C' else setting}" / file).read_text().split("\n")
        ]
        return Counter(float(line.split(".JPG")[0][-2:]) for line in lines if ".JPG" in line)

    assert Counter(data.labels("train").targets + data.labels("val").targets) == ages(train)
    assert Counter(data.labels("test").targets) == ages(test)
    assert not groups(data.labels("train")) & groups(data.labels("val"))
    assert [source.name for source in data.labels("test").sources] == test


TOTALS = {"A": 5492, "B": 21000, "C": 55134, "D": 55134}
SIZES = {
    "A": [1098] * 5,
    "B": [14000] * 3,
    "C": [11046, 11035, 11012, 11026, 11015],
    "D": [11027, 11027, 11027, 11027, 11026],
}
# The large lists take seconds each: one fold of C and of D is enough for every day.
FOLDS = [
    pytest.param(setting, fold, marks=[pytest.mark.slow] * (setting in "CD" and fold != 4))
    for setting, sizes in SIZES.items()
    for fold in range(len(sizes))
]


@needs_lists
@pytest.mark.parametrize(("setting", "fold"), FOLDS)
def test_real_folds_have_their_sizes_and_share_no_subject_but_in_d(
    setting: Literal["A", "B", "C", "D"], fold: int
) -> None:
    data = MorphDataModule(root=str(LISTS), setting=setting, fold=fold)
    train, val, test = (data.labels(split) for split in ("train", "val", "test"))
    assert len(test) == SIZES[setting][fold]
    names = [{label.path.rsplit("/", 1)[-1] for label in part} for part in (train, val, test)]
    assert len(set().union(*names)) == len(train) + len(val) + len(test) == TOTALS[setting]
    assert not groups(train) & groups(val)
    shared = len(groups(test) & (groups(train) | groups(val)))
    # The published parts of C share a few subjects all the same; those of A and D were drawn without regard to them.
    assert shared < 100 if setting == "C" else shared > 500 or setting == "B"


@needs_lists
@pytest.mark.parametrize(("setting", "shared"), [("C", 852), ("D", 52878)])
def test_c_is_the_subject_exclusive_setting_and_d_the_random_one(setting: Literal["C", "D"], shared: int) -> None:
    """As in changsukim-ku/order-learning; counted by the names in the files alone."""
    names = MorphDataModule(root=str(LISTS), setting=setting, fold=0)._names
    files = [*names("test"), *names("train")]
    parts: dict[str, list[int]] = {}
    for part, file in enumerate(files):
        (found,) = LISTS.rglob(file)
        for subject in re.findall(r"/(\d+)_\d*[MF]\d+\.JPG", found.read_text()):
            parts.setdefault(subject, []).append(part)
    assert sum(map(len, parts.values())) == 55134
    assert sum(len(where) for where in parts.values() if len(set(where)) > 1) == shared


@needs_lists
@pytest.mark.parametrize("fold", range(5))
def test_setting_a_shows_most_test_people_in_training(fold: int) -> None:
    data = MorphDataModule(root=str(LISTS), setting="A", fold=fold)
    train, val, test = (data.labels(split) for split in ("train", "val", "test"))
    assert len(train) + len(val) + len(test) == 5492
    known = groups(train) | groups(val)
    assert 849 <= sum(label.group in known for label in test) <= 871


@needs_lists
def test_setting_b_with_two_training_parts_tests_on_the_third() -> None:
    one, two = (MorphDataModule(root=str(LISTS), setting="B", fold=1, train_parts=parts) for parts in (1, 2))
    assert (len(two.labels("train")) + len(two.labels("val")), len(two.labels("test"))) == (14000, 7000)
    assert [source.name for source in two.labels("test").sources] == ["Setting_B_fold2.txt"]
    assert {label.path for label in two.labels("test")} == {
        label.path for split in ("train", "val") for label in one.labels(split)
    }


def test_setting_d_tests_on_one_part(tmp_path: Path) -> None:
    (tmp_path / "settingC").mkdir()
    for part in range(5):
        (tmp_path / "settingC" / f"morph_C_0{part}.txt").write_text(f"../../x/{part}00_0F2{part}.JPG 2{part}\n")
    data = MorphDataModule(root=str(tmp_path), setting="D", fold=4)
    assert data.labels("test").targets == (24.0,)
    assert sorted(data.labels("train").targets + data.labels("val").targets) == [20.0, 21.0, 22.0, 23.0]


@needs_lists
def test_real_lists_with_images(tmp_path: Path) -> None:
    """The lists of setting C name folders of their author; the images lie in `root/image`."""
    image = make_image(tmp_path / "one.jpg", size=(8, 8))
    (tmp_path / "image").mkdir()
    lines = (LISTS / "settingD" / "morph_D_00.txt").read_text().split("\n")
    for line in filter(None, lines):
        (tmp_path / "image" / line.split()[0].rsplit("/", 1)[1]).hardlink_to(image)
    lists = {"test_file": str(LISTS / "settingD" / "morph_D_00.txt")}
    data = MorphDataModule(root=str(tmp_path), setting="C", num_workers=0, image_size=8, check_images="header", **lists)  # type: ignore[arg-type]
    data.setup("test")
    assert next(iter(data.test_dataloader()))["target"].tolist() == [float(line.split()[1]) for line in lines[:32]]


@needs_lists
@pytest.mark.parametrize(
    ("setting", "file"), [("A", "Setting_A_fold1_test.txt"), ("B", "Setting_B_fold0.txt"), ("D", "morph_C_04.txt")]
)
def test_real_lists_of_the_other_settings_with_images(
    setting: Literal["A", "B", "D"], file: str, tmp_path: Path
) -> None:
    """The first hundred entries of a list as it is, CRLF and header and all, with one image linked to their names."""
    image = make_image(tmp_path / "one.jpg", size=(8, 8))
    lines = (
        (LISTS / f"setting{file[6] if 'morph' in file else setting}" / file)
        .read_bytes()
        .splitlines(keepends=True)[:101]
    )
    (tmp_path / "list.txt").write_bytes(b"".join(lines))
    names = [match.group().decode() for line in lines if (match := re.search(rb"\d+_\d+[MF]\d+\.JPG", line))]
    folder = tmp_path / "image"  # the lists name folders of their authors
    folder.mkdir()
    for name in names:
        (folder / name).hardlink_to(image)
    data = MorphDataModule(
        root=str(tmp_path), setting=setting, test_file="list.txt", num_workers=0, image_size=8, batch_size=101
    )
    data.setup("test")
    (batch,) = data.test_dataloader()
    assert batch["target"].tolist() == [float(name[-6:-4]) for name in names]
    assert len(names) >= 100

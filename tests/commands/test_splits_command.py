"""`numclip splits`: what it writes is what the datamodule holds, and what ListDataModule reads."""

from pathlib import Path
from typing import Any

import pytest

from numclip_lightning.cli import main
from numclip_lightning.data.aesthetics import AestheticsDataModule
from numclip_lightning.data.base import FileDataModule
from numclip_lightning.data.base.writing import write_splits
from numclip_lightning.data.clap2015 import CLAP2015DataModule
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.data.morph import MorphDataModule
from numclip_lightning.data.utkface import UTKFaceDataModule
from support.command import failure
from support.fake_data import make_aesthetics, make_clap2015, make_image, make_list_dataset, make_morph, make_utkface
from support.places import CONFIGS, DATALISTS, needs_lists

SPLITS: tuple[Any, ...] = ("train", "val", "test")


def entries(data: FileDataModule) -> list[list[tuple[Any, ...]]]:
    return [[(label.path, label.targets, label.spread) for label in data.labels(split)] for split in SPLITS]


def read(root: Path, folder: Path) -> ListDataModule:
    files = {f"{split}_file": str(folder / f"{split}.txt") for split in SPLITS}
    return ListDataModule(root=str(root), num_workers=0, image_size=8, **files)  # type: ignore[arg-type]


def test_a_configuration_is_written_and_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_aesthetics(tmp_path, train=32, test=8)
    config, overlay = str(CONFIGS / "aesthetics.yaml"), str(CONFIGS / "methods" / "coop.yaml")
    output = tmp_path / "new" / "lists"
    words = [f"--data.root={tmp_path}", "--data.fold=3", "--data.num_shots=2", f"--output={output}"]
    assert main(["splits", "--config", config, "--config", overlay, *words]) == 0
    expected = AestheticsDataModule(root=str(tmp_path), fold=3, num_shots=2)
    again = read(tmp_path, output)
    again.setup("fit")
    again.setup("test")
    assert entries(again) == entries(expected)
    assert (output / "test.txt").read_text(encoding="utf-8").startswith("path\ttarget\n")
    assert f"8 entries written to {output / 'test.txt'}" in capsys.readouterr().out


def test_what_images_names_say_is_written(tmp_path: Path) -> None:
    make_utkface(tmp_path / "images")
    data = UTKFaceDataModule(root=str(tmp_path), long_tail=3)
    write_splits(data, tmp_path / "out")
    again = read(tmp_path, tmp_path / "out")
    again.setup("fit")
    assert entries(again) == entries(data)


def test_spreads_are_written(tmp_path: Path) -> None:
    make_clap2015(tmp_path)
    data = CLAP2015DataModule(root=str(tmp_path))
    write_splits(data, tmp_path / "out")
    assert entries(read(tmp_path, tmp_path / "out")) == entries(data)
    assert (tmp_path / "out" / "val.txt").read_text(encoding="utf-8").startswith("path\ttarget\tspread\n")


def test_names_and_numbers_of_any_kind(tmp_path: Path) -> None:
    lines = ["a b.png,3.5", "it's.png,1e-07", '"comma, quote"".png",-2', "ä.png,1234567.125", "n.png,0.1"]
    for name in ("a b", "it's", 'comma, quote"', "ä", "n", "test"):
        make_image(tmp_path / f"{name}.png")
    (tmp_path / "mine.csv").write_text("\n".join(["path,score", *lines]), encoding="utf-8")
    (tmp_path / "several.txt").write_text("test.png 30 31 33.5\n")
    data = ListDataModule(root=str(tmp_path), train_file="mine.csv", test_file="several.txt")
    write_splits(data, tmp_path / "out")
    assert entries(read(tmp_path, tmp_path / "out")) == entries(data)
    assert data.labels("test")[0].targets == (30.0, 31.0, 33.5)


def test_paths_lead_to_the_images(tmp_path: Path) -> None:
    """MORPH's lists have bare names or folders of their authors; the images lie in the folder `image`."""
    root = tmp_path / "morph"
    make_morph(root)
    image, *_ = sorted((root / "image").glob("100000_*"))
    for file in root.glob("Setting_A_fold0_*.txt"):
        file.write_text(file.read_text().replace(" 100000_", " ../../datasets/Morph/image/100000_"))

    def written(folder: str) -> list[str]:
        write_splits(MorphDataModule(root=f"{root}/../morph/."), tmp_path / folder)
        lines = [line for split in SPLITS for line in (tmp_path / folder / f"{split}.txt").read_text().splitlines()[1:]]
        return [line.split("\t")[0] for line in lines]

    images = written("out")
    assert len(images) == 34
    assert all(path.startswith("image/") and (root / path).is_file() for path in images)
    # Where any is missing, names alone don't count, and the paths are those of the list.
    image.unlink()
    assert f"../../datasets/Morph/image/{image.name}" in written("again")


@needs_lists
@pytest.mark.parametrize(
    ("config", "folder", "words", "sizes"),
    [
        ("adience", "adience", ("--data.fold=1",), (12940, 1437, 3093)),
        ("historical", "hci", ("--data.fold=7",), (1050, 25, 250)),
        ("clap2015", "clap2015", (), (2476, 1136, 1079)),
        ("aesthetics", "crowdbeauty", (), (2021, 135, 539)),
        ("aesthetics", "crowdbeauty", ("--data.category=urban", "--data.fold=2"), (2410, 161, 643)),
        ("morph", "morph", ("--data.setting=A", "--data.fold=3"), (3955, 439, 1098)),
        pytest.param(
            *("morph", "morph", ("--data.setting=C", "--data.fold=4"), (39707, 4412, 11015)), marks=pytest.mark.slow
        ),
    ],
)
def test_real_lists(config: str, folder: str, words: tuple[str, ...], sizes: tuple[int, ...], tmp_path: Path) -> None:
    words = (f"--data.root={DATALISTS / folder}", f"--output={tmp_path}", *words)
    assert main(["splits", f"--config={CONFIGS / config}.yaml", *words]) == 0
    written = [read(DATALISTS / folder, tmp_path).labels(split) for split in SPLITS]
    # Whole users are set aside in Adience and MORPH: a tenth, as near as they come.
    assert [len(table) for table in written] == [pytest.approx(size, abs=20) for size in sizes]
    assert len({label.path for table in written for label in table}) == sum(map(len, written))


class TestRefused:
    @pytest.fixture
    def own(self, tmp_path: Path) -> list[str]:
        """The flags for two lists of one's own."""
        make_list_dataset(tmp_path, 12, name="train.txt")
        make_list_dataset(tmp_path, 6, name="test.txt")
        files = ["--data.train_file=train.txt", "--data.test_file=test.txt"]
        return ["--data=ListDataModule", f"--data.root={tmp_path}", *files]

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("--data.val_file=test.txt", "6 of 6 validation images are also in the test list"),
            ("--data.long_tail=0", "error: long_tail=0.0 must be a number of at least 1"),
            ("--data.test_file=null", "there is no test list; give test_file"),
            ("--data.shots=3", "Option 'shots' is not accepted"),
            ("--data=CountingDataModule", "CountingDataModule generates its images, so there are no files to list"),
        ],
    )
    def test_data_without_good_lists_write_nothing(
        self, own: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str, message: str
    ) -> None:
        words = own if not word.startswith("--data=") else []
        assert failure("splits", *words, word, f"--output={tmp_path / 'lists'}") == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "lists").exists()

    def test_lists_are_not_overwritten(
        self, own: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert failure("splits", *own, f"--output={tmp_path}") == 2
        expected = f"--output {tmp_path}: {tmp_path / 'train.txt'} exists; give another folder"
        assert expected in capsys.readouterr().err

    def test_the_folder_is_required(self, own: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert failure("splits", *own) == 2
        assert "output" in capsys.readouterr().err


def test_one_list_is_divided_by_group(tmp_path: Path) -> None:
    make_list_dataset(tmp_path, 40, name="all.txt")
    rows = [line.split() for line in (tmp_path / "all.txt").read_text().splitlines()]
    lines = [f"{path},{target},p{i // 4}" for i, (path, target) in enumerate(rows)]
    (tmp_path / "all.csv").write_text("\n".join(["path,score,patient", *lines]))
    own = [f"--data.root={tmp_path}", "--data.train_file=all.csv", "--data.group_column=patient"]
    words = ["splits", "--data=ListDataModule", *own, "--data.test_fraction=0.25", f"--output={tmp_path / 'out'}"]
    assert main(words) == 0
    assert (tmp_path / "out" / "test.txt").read_text().startswith("path\ttarget\tgroup\n")
    files = {f"{split}_file": str(tmp_path / "out" / f"{split}.txt") for split in SPLITS}
    again = ListDataModule(root=str(tmp_path), group_column="group", **files)  # type: ignore[arg-type]
    again.setup("fit")
    again.setup("test")
    parts = [{label.group for label in again.labels(split)} for split in SPLITS]
    assert [len(again.labels(split)) for split in SPLITS] == [28, 4, 8]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 10

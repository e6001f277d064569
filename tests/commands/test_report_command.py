"""`numclip report` on strangers' files and on run folders, and the page at the end of a test."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from numclip_lightning.cli import main
from numclip_lightning.commands import report as command
from numclip_lightning.report.reading import read_run
from numclip_lightning.report.strangers import with_shared_truth
from support.command import Numclip, failure, make_data
from support.fake_data import make_image
from support.predicted import predictions

# Small: what is tested here is the command.
FRAME = predictions(60)


def written(folder: Path, frame: pd.DataFrame = FRAME, name: str = "mine.csv") -> str:
    frame.to_csv(folder / name, index=False)
    return str(folder / name)


def test_a_strangers_file_with_columns_of_other_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame({"file": FRAME["path"], "age": FRAME["target"], "guess": FRAME["value"], "clinic": "x"})
    file = written(tmp_path, frame)
    words = ["--target_column=age", "--value_column=guess", "--path_column=file", "--by", "clinic", "--no_images"]
    assert main(["report", file, *words]) == 0
    text = (tmp_path / "mine.report.html").read_text()
    assert "off by 4" in text
    assert "By clinic" in text
    assert "<img" not in text
    assert str(tmp_path / "mine.report.html") in capsys.readouterr().out


def test_thumbnails_come_from_the_folder_that_is_named(tmp_path: Path) -> None:
    worst = FRAME["path"][FRAME["error"].abs().idxmax()]
    make_image(tmp_path / "photos" / worst)
    file = written(tmp_path)
    assert main(["report", file, f"--images={tmp_path / 'photos'}", f"--output={tmp_path / 'page.html'}"]) == 0
    text = (tmp_path / "page.html").read_text()
    assert text.count("<img ") == 1
    assert "23 of 24 images were not found" in text


def test_two_runs_of_the_same_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder, name="test_predictions.csv")
    assert main(["report", "one/test_predictions.csv", "two/test_predictions.csv", "--no_images"]) == 0
    text = (tmp_path / "report.html").read_text()
    assert "test_predictions.csv [1]" in text
    assert "equal in every pair" in text or "no difference shown" in text
    names = ["--name", "before", "--name", "after", "--output", "named.html", "--title", "Two visits"]
    assert main(["report", "one", "two", "--no_images", *names]) == 0
    assert "<h1>Two visits</h1>" in (tmp_path / "named.html").read_text()


@pytest.mark.parametrize(
    ("frame", "words", "message"),
    [
        (FRAME.rename(columns={"value": "values"}), [], "has no column 'value' with the predicted numbers; did you"),
        (FRAME, ["--by", "sexx"], "has no column 'sexx' to compare by"),
        (FRAME, ["--target_column=truth"], "has no column 'truth'"),
        (FRAME.assign(value="many"), [], "mine.csv:2: column 'value' has an entry that is no number, 'many'"),
        (pd.DataFrame({"target;value": ["1;2"]}), [], "has its columns separated by semicolons"),
        (FRAME.assign(value=float("nan")), [], "has no row with finite numbers in 'value' and 'target'"),
        (FRAME, ["--output=page.csv"], "no name of a page; let it end in .html"),
        (FRAME, ["--name", "a", "--name", "b"], "--name was given 2 times for 1 runs"),
    ],
)  # fmt: skip
def test_what_can_not_be_read_is_refused(
    frame: pd.DataFrame, words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failure("report", written(tmp_path, frame), *words) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.rglob("*.html"))


def test_a_folder_without_predictions_says_how_to_get_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert failure("report", str(tmp_path)) == 2
    assert "numclip test --config" in capsys.readouterr().err


def test_rows_without_a_number_are_left_out_and_counted(tmp_path: Path) -> None:
    frame = FRAME.copy()
    frame.loc[[0, 3], "value"] = float("nan")
    assert main(["report", written(tmp_path, frame), "--no_images"]) == 0
    text = (tmp_path / "mine.report.html").read_text()
    assert "2 rows have no finite number" in text
    assert "n = 58 images" in text


@pytest.fixture(scope="module")
def numclip(tmp_path_factory: pytest.TempPathFactory) -> Numclip:
    return Numclip(make_data(tmp_path_factory.mktemp("data")), tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def fitted(numclip: Numclip) -> Path:
    return numclip("fit", "--trainer.max_epochs=1")


def test_a_test_ends_with_a_page_of_its_images_and_prototypes(
    numclip: Numclip, fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tested = numclip("test", f"--ckpt_path={fitted}/checkpoints/best.ckpt", "--report=true")
    assert f"The report is in {tested / 'report.html'}" in capsys.readouterr().out
    text = (tested / "report.html").read_text()
    # Of 17 images the best 8 and the worst 8, each with its map, in the order of the errors.
    assert text.count("<img ") == 32
    frame = pd.read_csv(tested / "test_predictions.csv")
    order = frame["error"].abs().argsort(kind="stable")
    extremes = set(frame["path"][[*order[:8], *order[-8:]]])
    listed = pd.read_csv(tested / "maps" / "maps.csv")
    assert set(listed["path"]) == extremes
    numbers = np.load(tested / "maps" / f"{listed['map'][0]}.npy")
    assert text.count(f"places read {numbers.min():.4g} to {numbers.max():.4g}") >= 2
    assert "Ordinality" in text
    assert "config.yaml" in text
    assert "Checkpoint selected on" in text


def test_private_images_leave_neither_thumbnails_nor_maps(numclip: Numclip, fitted: Path) -> None:
    tested = numclip("test", f"--ckpt_path={fitted}/checkpoints/best.ckpt", "--report=no_images")
    assert "<img " not in (tested / "report.html").read_text()
    assert not (tested / "maps").exists()


def test_a_method_without_places_has_a_page_without_maps(numclip: Numclip, caplog: pytest.LogCaptureFixture) -> None:
    words = [word for word in numclip.flags if not word.startswith("--model=")]
    with caplog.at_level("INFO"):
        tested = numclip.plain("test", "--model=RankingAwareCLIP", *words, "--report=true")
    assert "the report has no maps: a map needs one feature of an image" in caplog.text
    assert (tested / "report.html").read_text().count("<img ") == 16


def test_a_page_that_fails_does_not_spoil_the_test(
    numclip: Numclip, fitted: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command, "write_page", full)
    tested = numclip("test", f"--ckpt_path={fitted}/checkpoints/best.ckpt", "--report=true")
    assert (tested / "test_predictions.csv").is_file()
    assert "no report.html: [Errno 28] No space left" in caplog.text


def test_a_file_without_true_numbers_takes_those_of_the_run_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    written(folder, name="test_predictions.csv")
    theirs = FRAME[["path"]].assign(value=FRAME["target"] + 1)[::-1]
    file = written(tmp_path, theirs, "gemini.csv")
    new = written(tmp_path, theirs.assign(path="new.png")[:1], "new.csv")
    run, beside, other = with_shared_truth([read_run(folder), read_run(file), read_run(new)])
    assert beside.frame["path"].tolist() == run.frame["path"].tolist()
    assert beside.errors == pytest.approx(1)
    assert not other.has_truth
    assert main(["report", str(folder), file, "--no_images", f"--output={tmp_path / 'page.html'}"]) == 0
    assert "Paired" in (tmp_path / "page.html").read_text()

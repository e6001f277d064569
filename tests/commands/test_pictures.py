"""`--pictures`: the same pictures as files in the run folder and in TensorBoard; and what is logged of steps."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from numclip_lightning.report.reading import read_run
from numclip_lightning.report.run_pictures import draw_pictures
from support.command import SIZES, Numclip, rows_of
from support.places import REPOSITORY

OVERLAY = REPOSITORY / "configs" / "loggers" / "tensorboard.yaml"
DRAWN = {"val_predicted", "val_confusion", "val_prototypes", "val_worst", "curves"}
TESTED = {"test_predicted", "test_confusion", "test_prototypes", "test_worst"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def drawn(data: Path, runs: Path) -> Path:
    """A fit with TensorBoard, tested afterwards."""
    return Numclip(data, runs)(
        "fit", "--config", str(OVERLAY), f"--trainer.logger.save_dir={runs}", "--test_after_fit=true"
    )


@pytest.fixture(scope="module")
def events(drawn: Path, runs: Path) -> EventAccumulator:
    """What TensorBoard reads of it: its folder has the name of the run folder."""
    found = EventAccumulator(str(runs / "tensorboard" / drawn.name), size_guidance={"images": 0, "scalars": 0})
    return found.Reload()


def test_the_run_folder_has_every_picture(drawn: Path) -> None:
    files = {file.stem: file for file in (drawn / "pictures").iterdir()}
    assert set(files) == DRAWN | TESTED
    for file in files.values():
        pixels = cv2.imread(str(file))
        assert pixels is not None
        assert pixels.std() > 5, f"{file} is empty"


def test_tensorboard_has_the_same_pictures(drawn: Path, events: EventAccumulator) -> None:
    assert set(events.Tags()["images"]) == {f"pictures/{name}" for name in DRAWN | TESTED}
    (shown,) = events.Images("pictures/val_confusion")
    there = cv2.imdecode(np.frombuffer(shown.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    here = cv2.imread(str(drawn / "pictures" / "val_confusion.png"))
    np.testing.assert_array_equal(there, here)


def test_prototypes_are_those_of_the_checkpoint(drawn: Path) -> None:
    known = json.loads((drawn / "prototypes.json").read_text(encoding="utf-8"))
    assert known["phrases"] == ["few", "some", "many"]
    assert np.diag(known["similarity"]) == pytest.approx(1, abs=1e-4)


def test_rates_gradients_and_speed_are_logged(drawn: Path, events: EventAccumulator) -> None:
    rows = [row for row in rows_of(drawn / "metrics.csv") if row["grad_norm"]]
    # Three batches an epoch, each of which is logged.
    assert [int(row["step"]) for row in rows] == list(range(6))
    assert all(float(row["grad_norm"]) > 0 for row in rows)
    rates = [name for name in rows[0] if name.startswith("lr/")]
    assert {"lr/image_encoder", "lr/head"} <= set(rates)
    for name in rates:
        assert [point.value for point in events.Scalars(name)] == pytest.approx([float(row[name]) for row in rows])
    speeds = [float(row["images_per_second"]) for row in rows if row["images_per_second"]]
    # Not the first step of the fit.
    assert len(speeds) == 5
    assert all(speed > 0 for speed in speeds)
    assert {"val_mae", "train_loss", "test_mae", "grad_norm"} <= set(events.Tags()["scalars"])
    # The configuration.
    assert any("model.init_args.scale.maximum" in name for name in _hyperparameters(events))


def _hyperparameters(events: EventAccumulator) -> list[str]:
    file = next(Path(events.path).glob("hparams.yaml"))
    return file.read_text(encoding="utf-8").splitlines()


def test_without_the_flag_nothing_is_drawn(fitted: Path) -> None:
    assert not (fitted / "pictures").exists()


def test_images_that_are_gone_never_spoil_the_others(drawn: Path, tmp_path: Path) -> None:
    run = read_run(drawn / "validation_predictions.csv")
    assert len(run.frame) == SIZES["val"]
    found = draw_pictures(run, tmp_path / "made", "val", lambda *_: {})
    assert set(found) == DRAWN - {"val_worst", "curves"}


def test_confusion_counts_every_image(drawn: Path) -> None:
    run = read_run(drawn / "test_predictions.csv")
    counts = run.confusion
    assert counts is not None
    slow = np.zeros_like(counts)
    names = ["few", "some", "many"]
    with (drawn / "test_predictions.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            slow[names.index(row["true_phrase"]), names.index(row["most_probable"])] += 1
    np.testing.assert_array_equal(counts, slow)


def test_a_fit_that_keeps_no_predictions_still_draws_its_curves(
    numclip: Numclip, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="numclip_lightning"):
        run = numclip("fit", "--pictures=true", "--calibration.coverage=null", "--trainer.max_epochs=1")
    assert [file.name for file in (run / "pictures").iterdir()] == ["curves.png"]
    assert "no pictures of predictions: validation_predictions.csv was not written" in caplog.text

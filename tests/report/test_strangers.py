"""Predictions of other programs beside our runs: joined by image, refused where they do not fit."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from numclip_lightning.errors import DataError
from numclip_lightning.report.strangers import read_stranger, with_truth
from numclip_lightning.scale import OrdinalScale

SCALE = OrdinalScale(minimum=0, maximum=99, levels=[{"phrase": "child", "start": 0}, {"phrase": "adult", "start": 18}])
KNOWN = pd.DataFrame(
    {"path": ["faces/c.jpg", "faces/a.jpg", "faces/b.jpg"], "target": [30.0, 10.0, 20.0], "value": [1.0, 2.0, 3.0],
     "true_phrase": ["adult", "child", "adult"], "group": ["x", "y", "y"], "attribute_sex": ["f", "m", "f"]}
)  # fmt: skip
ANSWERS = pd.DataFrame({"path": ["faces/a.jpg", "faces/b.jpg", "faces/c.jpg", "other.jpg"], "value": [11, 17, 35, 50]})


def written(folder: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(folder / "gemini.csv", index=False)
    return folder / "gemini.csv"


def test_answers_are_joined_to_the_list_by_image_and_not_by_row(tmp_path: Path) -> None:
    frame, guessed = with_truth(read_stranger(written(tmp_path, ANSWERS)), KNOWN, SCALE)
    assert frame["path"].tolist() == KNOWN["path"].tolist()
    assert frame["value"].tolist() == [35, 11, 17]
    assert frame["error"].tolist() == [5, 1, -3]
    assert frame["phrase"].tolist() == ["adult", "child", "child"]
    assert frame[["true_phrase", "group", "attribute_sex"]].equals(KNOWN[["true_phrase", "group", "attribute_sex"]])
    # A number alone is certain of its level, as with our own methods that predict the number alone.
    assert frame[["p(child)", "p(adult)"]].to_numpy().tolist() == [[0, 1], [1, 0], [1, 0]]
    assert guessed == 0


def test_file_names_alone_serve_for_a_whole_list_and_columns_have_other_names(tmp_path: Path) -> None:
    theirs = pd.DataFrame({"image": [r"C:\\faces\\a.jpg", "/x/b.jpg", "c.jpg"], "answer": [1, 2, 3]})
    stranger = read_stranger(written(tmp_path, theirs), {"path": "image", "value": "answer"})
    assert with_truth(stranger, KNOWN, SCALE)[0]["value"].tolist() == [3, 1, 2]


def test_words_and_distributions_become_numbers(tmp_path: Path) -> None:
    words = ANSWERS.assign(phrase=["Child ", "adult", "child", "?"])[["path", "phrase"]]
    values = with_truth(read_stranger(written(tmp_path, words)), KNOWN, SCALE)[0]["value"]
    assert values.tolist() == [8.5, 8.5, 58.5]
    shares = ANSWERS[["path"]].assign(**{"p(child)": [0.9, 0.5, 0.0, 1.0], "p(adult)": [0.1, 0.5, 1.0, 0.0]})
    frame = with_truth(read_stranger(written(tmp_path, shares)), KNOWN, SCALE)[0]
    assert np.allclose(frame["value"], [58.5, 0.9 * 8.5 + 0.1 * 58.5, 33.5])
    assert frame["p(child)"].tolist() == [0.0, 0.9, 0.5]


def test_what_was_not_answered_is_refused_or_counts_as_guessing(tmp_path: Path) -> None:
    silent = ANSWERS.assign(value=["11", "I cannot tell", "35", "x"])
    stranger = read_stranger(written(tmp_path, silent))
    with pytest.raises(DataError, match=r"gemini.csv:3: no number for 'faces/b.jpg', and for 1 of 3 images"):
        with_truth(stranger, KNOWN, SCALE)
    frame, guessed = with_truth(stranger, KNOWN, SCALE, unanswered="median", median=22.0)
    assert frame["value"].tolist() == [35, 11, 22]
    assert guessed == 1


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (ANSWERS[:2], "no row for 1 of 3 test images, such as 'faces/c.jpg'"),
        (ANSWERS.rename(columns={"value": "age"}), "has no column 'value', 'phrase' or p"),
        (ANSWERS.rename(columns={"path": "image"}), "has no column 'path'"),
        (pd.concat([ANSWERS, ANSWERS[:1].assign(value=12)]), "gemini.csv:6: 'faces/a.jpg' is there twice"),
        (ANSWERS.assign(target=[10, 21, 30, 0]), "gemini.csv:3: target of 'faces/b.jpg' is 21, but the test list has"),
        (ANSWERS.assign(**{"p(old)": 1.0}), "probabilities of old, but the scale has the phrases child, adult"),
        (ANSWERS.assign(**{"p(child)": 0.9, "p(adult)": 0.9}), "gemini.csv: "),
        (ANSWERS[:0], "has no rows"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(frame: pd.DataFrame, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        with_truth(read_stranger(written(tmp_path, frame)), KNOWN, SCALE)

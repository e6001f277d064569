"""A predictor of a calibrated run says what the run's own predictions say, and so does whatever is exported of it."""

import json
from pathlib import Path

import pytest

from numclip_lightning import OrdinalPredictor
from numclip_lightning.deploy.formats import metadata
from numclip_lightning.deploy.prediction import Prediction
from numclip_lightning.deploy.server.answers import answer_of
from support.command import rows_of


@pytest.fixture(scope="module")
def tested(fitted: Path) -> list[dict[str, str]]:
    return rows_of(fitted / "test_predictions.csv")[:4]


def agrees(found: list[Prediction], tested: list[dict[str, str]]) -> bool:
    for one, row in zip(found, tested, strict=True):
        assert one.lower == pytest.approx(float(row["lower"]), abs=1e-3)
        assert one.upper == pytest.approx(float(row["upper"]), abs=1e-3)
        assert one.spread == pytest.approx(float(row["spread"]), abs=1e-3)
        assert list(one.phrases_in_set or []) == row["phrases_in_set"].split("; ")
        assert one.coverage == 0.9
    return True


def test_a_run_and_an_exported_folder_have_its_intervals(
    fitted: Path, data: Path, tested: list[dict[str, str]], tmp_path: Path
) -> None:
    predictor = OrdinalPredictor.load(fitted)
    images = [data / row["path"] for row in tested]
    assert agrees(predictor(images), tested)
    predictor.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["calibration"] == json.loads((fitted / "calibration.json").read_text())
    assert agrees(OrdinalPredictor.load(tmp_path)(images), tested)
    assert json.loads(metadata(predictor)["numclip"])["calibration"]["coverage"] == 0.9


def test_words_json_table_and_server_show_them(fitted: Path, data: Path, tested: list[dict[str, str]]) -> None:
    predictions = OrdinalPredictor.load(fitted)([data / tested[0]["path"]])
    (one,) = predictions
    assert f", 90 % in {one.lower:.1f} to {one.upper:.1f} (" in str(one)
    plain = json.loads(json.dumps(one.to_dict()))
    assert plain["phrases_in_set"] == tested[0]["phrases_in_set"].split("; ")
    assert predictions.to_pandas()["phrases_in_set"].tolist() == [tested[0]["phrases_in_set"]]
    answer = answer_of("a.png", one)
    assert (answer.lower, answer.upper, answer.coverage) == (one.lower, one.upper, 0.9)
    assert answer.phrases_in_set == plain["phrases_in_set"]


def test_without_a_calibration_nothing_is_said_of_it() -> None:
    prediction = Prediction(value=1, phrase="few", level=0, most_probable="few", probabilities={"few": 1.0})
    assert "lower" not in prediction.to_dict()
    assert answer_of("a.png", prediction).lower is None
    assert "% in" not in str(prediction)

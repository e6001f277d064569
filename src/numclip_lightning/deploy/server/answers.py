"""What the server answers, as its OpenAPI description has it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from numclip_lightning.deploy.prediction import Prediction

__all__ = ["Answer", "Problem", "State", "answer_of"]

_EXAMPLE: Any = {
    "source": "face.jpg", "value": 31.4, "unit": "years", "phrase": "young adult", "level": 2,
    "most_probable": "young adult", "probabilities": {"child": 0.01, "teenager": 0.07, "young adult": 0.92},
    "spread": 2.0, "extras": {},
}  # fmt: skip


class OnePrediction(BaseModel):
    """The prediction for one image, or why there is none."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    source: str = Field(description="The name of the file.")
    value: float | None = Field(default=None, description="The predicted number, in the unit of the scale.")
    unit: str = ""
    phrase: str | None = Field(default=None, description="The phrase of the level that the value belongs to.")
    level: int | None = Field(default=None, description="The index of that level.")
    most_probable: str | None = Field(default=None, description="The phrase with the highest probability.")
    probabilities: dict[str, float] = Field(default_factory=dict, description="The probability of each phrase.")
    spread: float | None = Field(default=None, description="The standard deviation of the predicted distribution.")
    lower: float | None = Field(default=None, description="The lower end of the interval, if the run was calibrated.")
    upper: float | None = Field(default=None, description="The upper end of the interval.")
    coverage: float | None = Field(default=None, description="The share of images whose true number it holds.")
    phrases_in_set: list[str] | None = Field(
        default=None, description="Neighbouring phrases among which the true one is, of as many images."
    )
    extras: dict[str, float] = Field(default_factory=dict, description="Further numbers of the method.")
    error: str | None = Field(default=None, description="Why this image has no prediction.")


class Answer(BaseModel):
    """The predictions of a request, in the order of its files."""

    predictions: list[OnePrediction]
    seconds: float = Field(description="From the last byte of the request to the answer.")


class Problem(BaseModel):
    """Why a request was refused."""

    model_config = ConfigDict(json_schema_extra={"example": {"error": "the field 'file' has no files"}})

    error: str


class State(BaseModel):
    """Whether the server lives, or is ready."""

    status: str


def answer_of(source: str, found: Prediction | str) -> OnePrediction:
    """Return a prediction, or the reason why there is none, as the server answers it."""
    if isinstance(found, str):
        return OnePrediction(source=source, error=found)
    values: dict[str, Any] = {"extras": {}, **found.to_dict(), "source": source}
    return OnePrediction(**values)

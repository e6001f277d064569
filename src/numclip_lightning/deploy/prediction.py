"""What a predictor says of an image, for programs and for people."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.scale import OrdinalScale

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Prediction", "Predictions", "read_outputs"]

# Levels that a sentence about an image names.
_SHOWN = 2


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        value: The predicted number, in the unit of the scale.
        phrase: The phrase of the level that `value` belongs to.
        level: The index of that level, 0..K-1.
        most_probable: The phrase with the highest probability; it may differ from `phrase`.
        probabilities: The probability of each phrase, in the order of the scale.
        spread: The standard deviation of the predicted distribution, in the unit of the scale; None if the method
            predicts the number alone.
        unit: The unit of the scale.
        source: The name of the image: its path, or its place in what was given.
        extras: Further numbers of the method, by name.
        digits: Digits behind the point that `str` shows.
    """

    value: float
    phrase: str
    level: int
    most_probable: str
    probabilities: Mapping[str, float]
    spread: float | None = None
    unit: str = ""
    source: str = ""
    extras: Mapping[str, float] = field(default_factory=dict)
    digits: int = 1

    def __str__(self) -> str:
        """Say it in words: `31.4 years ± 2.0 (young adult 92 %, teenager 8 %)`."""
        spread = "" if self.spread is None else f" ± {self.spread:.{self.digits}f}"
        ranked = sorted(self.probabilities.items(), key=lambda item: -item[1])[:_SHOWN]
        levels = ", ".join(f"{phrase} {share:.0%}".replace("%", " %") for phrase, share in ranked if share >= 0.005)
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.value:.{self.digits}f}{spread}{unit} ({levels or self.phrase})"

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, as JSON has them."""
        return {
            "source": self.source,
            "value": self.value,
            "unit": self.unit,
            "phrase": self.phrase,
            "level": self.level,
            "most_probable": self.most_probable,
            "probabilities": dict(self.probabilities),
            "spread": self.spread,
            **({"extras": dict(self.extras)} if self.extras else {}),
        }


class Predictions(list[Prediction]):
    """Predictions in the order of their images.

    Attributes:
        skipped: The name of each image that could not be read, and why, if `on_error="skip"`.
    """

    def __init__(self, predictions: Iterable[Prediction] = (), skipped: Mapping[str, str] | None = None) -> None:
        super().__init__(predictions)
        self.skipped: dict[str, str] = dict(skipped or {})

    def __str__(self) -> str:
        """Say it in words, a line for each image."""
        lines = [f"{prediction.source}: {prediction}" for prediction in self]
        return "\n".join([*lines, *(f"{name}: skipped, {reason}" for name, reason in self.skipped.items())])

    def to_pandas(self) -> "pd.DataFrame":
        """Return a table in the columns of `numclip predict`: path, value, phrase, most_probable, p(...); and spread.

        Raises:
            ConfigError: If pandas is not installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise ConfigError("to_pandas needs pandas; install it with pip install pandas.") from error
        return pd.DataFrame([
            {
                "path": one.source,
                "value": one.value,
                "phrase": one.phrase,
                "most_probable": one.most_probable,
                **{f"p({phrase})": share for phrase, share in one.probabilities.items()},
                **({} if one.spread is None else {"spread": one.spread}),
                **one.extras,
            }
            for one in self
        ])  # fmt: skip


def read_outputs(outputs: Mapping[str, Tensor], scale: OrdinalScale, sources: Sequence[str]) -> list[Prediction]:
    """Turn the numbers of a batch into predictions.

    Args:
        outputs: `value` (B,), `probabilities` (B, K), and maybe `spread` (B,) and others (B,).
        scale: The scale.
        sources: The name of each image, B of them.
    """
    host = {name: found.detach().to("cpu", torch.float32) for name, found in outputs.items()}
    values, shares = host.pop("value"), host.pop("probabilities")
    spread = host.pop("spread", None)
    phrases = scale.phrases
    levels, best = scale.level_at(values).tolist(), shares.argmax(dim=1).tolist()
    # A digit more than the scale has.
    digits = max(0, 1 - math.floor(math.log10(scale.step) + 1e-9))
    return [
        Prediction(
            value=value,
            phrase=phrases[levels[i]],
            level=levels[i],
            most_probable=phrases[best[i]],
            probabilities=dict(zip(phrases, shares[i].tolist(), strict=True)),
            spread=None if spread is None else spread[i].item(),
            unit=scale.unit,
            source=sources[i],
            extras={name: found[i].item() for name, found in host.items()},
            digits=digits,
        )
        for i, value in enumerate(values.tolist())
    ]

"""What a predictor says of an image, for programs and for people."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from numclip_lightning.calibration import SEPARATOR, Answers, Calibration
from numclip_lightning.calibration.quantiles import quantiles_in
from numclip_lightning.deploy.scale_score import SHARE, UNLIKELY
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
        lower: The lower end of an interval that holds the true number of a share `coverage` of images like those that
            it was found on; None if the run was not calibrated. See `docs/trust.md`.
        upper: Its upper end.
        phrases_in_set: Neighbouring phrases among which the true one is, of as many images; None likewise.
        coverage: That share.
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
    lower: float | None = None
    upper: float | None = None
    phrases_in_set: Sequence[str] | None = None
    coverage: float | None = None
    unit: str = ""
    source: str = ""
    extras: Mapping[str, float] = field(default_factory=dict)
    digits: int = 1

    def __str__(self) -> str:
        """Say it in words: `31.4 ± 2.0 years, 90 % in 27.2 to 35.6 (young adult 92 %, teenager 8 %)`."""
        spread = "" if self.spread is None else f" ± {self.spread:.{self.digits}f}"
        ranked = sorted(self.probabilities.items(), key=lambda item: -item[1])[:_SHOWN]
        levels = ", ".join(f"{phrase} {share:.0%}".replace("%", " %") for phrase, share in ranked if share >= 0.005)
        unit = f" {self.unit}" if self.unit else ""
        interval = ""
        if self.lower is not None and self.upper is not None and self.coverage is not None:
            ends = f"{self.lower:.{self.digits}f} to {self.upper:.{self.digits}f}"
            interval = f", {100 * self.coverage:.3g} % in {ends}"
        share = self.extras.get(SHARE, 1.0)
        stranger = f"; perhaps not on the scale at all ({share:.3f})" if share <= UNLIKELY else ""
        return f"{self.value:.{self.digits}f}{spread}{unit}{interval} ({levels or self.phrase}){stranger}"

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
            **self._calibrated(),
            **({"extras": dict(self.extras)} if self.extras else {}),
        }

    def to_row(self) -> dict[str, Any]:
        """Return the columns of `numclip predict` by name; see `Predictions.to_pandas`."""
        return {
            "path": self.source,
            "value": self.value,
            "phrase": self.phrase,
            "most_probable": self.most_probable,
            **{f"p({phrase})": share for phrase, share in self.probabilities.items()},
            **({} if self.spread is None else {"spread": self.spread}),
            **({} if self.lower is None else {"lower": self.lower, "upper": self.upper}),
            **({} if self.phrases_in_set is None else {"phrases_in_set": SEPARATOR.join(self.phrases_in_set)}),
            **self.extras,
        }

    def _calibrated(self) -> dict[str, Any]:
        """Return what only a calibrated run gives."""
        if self.coverage is None:
            return {}
        phrases = None if self.phrases_in_set is None else list(self.phrases_in_set)
        return {"lower": self.lower, "upper": self.upper, "coverage": self.coverage, "phrases_in_set": phrases}


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
        """Return a table in the columns of `numclip predict`.

        They are path, value, phrase, most_probable, p(...), where the method has a distribution spread, where the run
        was calibrated lower, upper and phrases_in_set, and further numbers of the method.

        Raises:
            ConfigError: If pandas is not installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError as error:
            raise ConfigError("to_pandas needs pandas; install it with pip install pandas.") from error
        return pd.DataFrame([one.to_row() for one in self])


def read_outputs(
    outputs: Mapping[str, Tensor], scale: OrdinalScale, sources: Sequence[str], calibration: Calibration | None = None
) -> list[Prediction]:
    """Turn the numbers of a batch into predictions.

    Args:
        outputs: `value` (B,), `probabilities` (B, K), and maybe `spread` (B,), `quantiles` (B, S) and others (B,).
        scale: The scale.
        sources: The name of each image, B of them.
        calibration: That of the run; None if it has none.
    """
    host = {name: found.detach().to("cpu", torch.float32) for name, found in outputs.items()}
    values, shares = host.pop("value"), host.pop("probabilities")
    spread, quantiles = host.pop("spread", None), host.pop("quantiles", None)
    phrases = scale.phrases
    levels, best = scale.level_at(values).tolist(), shares.argmax(dim=1).tolist()
    # A digit more than the scale has.
    digits = max(0, 1 - math.floor(math.log10(scale.grid.finest) + 1e-9))
    columns = {"phrase": [phrases[level] for level in levels], "most_probable": [phrases[level] for level in best]}
    calibrated = _calibrated(values, shares, spread, quantiles, columns, calibration)
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
            **(calibrated[i] if calibrated else {}),
        )
        for i, value in enumerate(values.tolist())
    ]


def _calibrated(
    values: Tensor,
    shares: Tensor,
    spread: Tensor | None,
    quantiles: Tensor | None,
    columns: Mapping[str, Sequence[str]],
    calibration: Calibration | None,
) -> list[dict[str, Any]]:
    """Return the fields of each image that come from a calibration; none without one, or where numbers are not finite.

    Groups that images do not show, such as the sex, are not known here: such an image gets the widest interval of all.
    """
    if calibration is None or not (values.isfinite().all() and shares.isfinite().all()):
        return []
    answers = Answers(
        value=values.numpy(),
        spread=None if spread is None or not spread.isfinite().all() else spread.numpy(),
        probabilities=shares.numpy(),
        groups=columns.get(calibration.choices.by or ""),
        quantiles=None if quantiles is None else quantiles_in(quantiles.double().numpy(), calibration.shares),
    )
    lower, upper = calibration.intervals_of(answers)
    sets = calibration.sets_of(answers)
    phrases = calibration.phrases
    return [
        {
            "lower": float(lower[i]),
            "upper": float(upper[i]),
            "coverage": calibration.choices.coverage,
            "phrases_in_set": None if sets is None else phrases[sets[0][i] : sets[1][i] + 1],
        }
        for i in range(len(values))
    ]

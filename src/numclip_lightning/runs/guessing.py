"""What guessing costs: the errors of a constant answer, beside which every result is read."""

import shlex
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from numclip_lightning.data.base.datamodule import OrdinalDataModule, Split
from numclip_lightning.errors import DataError
from numclip_lightning.runs.endings import called_program
from numclip_lightning.scale import OrdinalScale

__all__ = ["Guess", "Result", "guess", "guess_of", "known_targets"]

# A fit whose error is not at least this share below that of guessing has hardly learned anything.
_MARGIN = 0.05


@dataclass(frozen=True)
class Guess:
    """Two constant answers, known from the training targets alone, and what they cost on other images.

    Attributes:
        value: The median of the training targets, in their unit.
        phrase: The phrase of the commonest training level; of the lowest one if several are.
        mae: Mean absolute error of always answering `value`, in the target's unit.
        acc: Share of images at the level of `phrase`.
    """

    value: float
    phrase: str
    mae: float
    acc: float

    def metrics(self, split: Split) -> dict[str, float]:
        """Return the costs as `metrics.json` names them: `val_guess_mae`, `val_guess_acc`."""
        return {f"{split}_guess_mae": self.mae, f"{split}_guess_acc": self.acc}


@dataclass(frozen=True)
class Result:
    """What was measured on a split, beside what guessing costs there.

    Attributes:
        split: The split.
        mae: The mean absolute error of the method, in the target's unit.
        acc: The share of images at the right level; None if it was not measured.
        guess: The constant answers.
        unit: The target's unit, may be empty.
    """

    split: Split
    mae: float
    acc: float | None
    guess: Guess
    unit: str

    @property
    def verdict(self) -> str:
        """In words how the error compares with guessing; empty if it is clearly lower."""
        if self.mae < (1 - _MARGIN) * self.guess.mae:
            return ""
        return "hardly better than guessing" if self.mae < self.guess.mae else "no better than guessing"

    def describe(self) -> str:
        """Return one line with the numbers and what guessing costs."""
        unit = f" {self.unit}" if self.unit else ""
        accuracy = "" if self.acc is None else f", accuracy {self.acc:.3f}"
        return (
            f"{self.split}: MAE {_short(self.mae)}{unit}{accuracy}; guessing costs MAE {_short(self.guess.mae)}{unit} "
            f"(always {_short(self.guess.value, 7)}, the training median) and has accuracy {self.guess.acc:.3f} "
            f"(always {self.guess.phrase!r}, the commonest level)"
        )

    def advice(self, config: Path) -> str:
        """Return what a result that is no better than guessing may mean and what to try; empty for a better one.

        Args:
            config: The configuration of the run.
        """
        if not self.verdict:
            return ""
        probe = ["fit", "--config", str(config), "--config", "configs/methods/linear_probe.yaml"]
        return (
            f"This is {self.verdict}. The CLIP may not know the words of the scale, the learning rates may be too low, "
            "or the steps too few. A linear probe on the same image tower shows within seconds what can be read from "
            f"these images:\n  {shlex.join([*called_program(), *probe])}\n"
            "`numclip benchmark` compares it with the other methods on your list (README, Is the result any good?)."
        )


def _short(number: float, digits: int = 4) -> str:
    """Write a number with a few digits, but all of those before the point: `0.5625`, `841900`."""
    return f"{number:.0f}" if abs(number) >= 10**digits else f"{number:.{digits}g}"


def guess(train: Sequence[float], targets: Sequence[float], scale: OrdinalScale) -> Guess:
    """Return what guessing costs.

    Args:
        train: Targets of the training images, at least one, all on the scale.
        targets: Targets of the images that are measured, at least one, all on the scale.
        scale: The scale.

    Example:
        >>> guess([0, 1, 1, 4], [1, 3], OrdinalScale(minimum=0, maximum=4))
        Guess(value=1.0, phrase='1', mae=1.0, acc=0.5)
    """
    value = float(statistics.median(train))
    level = int(scale.to_level(torch.tensor(train, dtype=torch.float64)).bincount().argmax())
    levels = scale.to_level(torch.tensor(targets, dtype=torch.float64))
    return Guess(
        value=value,
        phrase=scale.phrases[level],
        mae=statistics.fmean(abs(target - value) for target in targets),
        acc=int((levels == level).sum()) / len(targets),
    )


def guess_of(data: Any, split: Split, scale: OrdinalScale) -> Guess | None:
    """Return what guessing costs on a split; None if the training targets are not there or not on the scale."""
    train = known_targets(data, "train", scale)
    targets = known_targets(data, split, scale) if train else ()
    return guess(train, targets, scale) if targets else None


def known_targets(data: Any, split: Split, scale: OrdinalScale) -> tuple[float, ...]:
    """Return the targets of a split; none if its list is not there or has targets that are not on the scale.

    A list may be missing where a checkpoint is tested elsewhere.
    """
    if not isinstance(data, OrdinalDataModule):
        return ()
    try:
        targets = data.labels(split).targets
    except DataError:
        return ()
    return targets if scale.contains(torch.tensor(targets, dtype=torch.float64)).all() else ()

"""A calibration: thresholds and a temperature, found on validation images, that hold for all images after them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from numclip_lightning.calibration.answers import BY_LEVEL, Answers, Choices
from numclip_lightning.calibration.checks import Levels, Numbers
from numclip_lightning.calibration.conformal import interval_ends, interval_scores
from numclip_lightning.calibration.distributions import LevelValues, level_quantiles, level_spread
from numclip_lightning.calibration.level_sets import level_sets, set_scores
from numclip_lightning.calibration.temperature import Temperature, fit_temperature
from numclip_lightning.calibration.thresholds import Thresholds, find_thresholds
from numclip_lightning.errors import ConfigError, DataError

__all__ = ["Calibration", "calibrate"]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Thresholds and temperature.

    Attributes:
        choices: What was asked for; `intervals` is the kind that was used.
        phrases: The phrases of the levels, in order; empty if they are not known.
        values: The numbers of the levels; None if the scale is not known.
        n: On how many images it was found.
        interval: Thresholds of intervals.
        sets: Thresholds of sets of levels; None where a set is the levels that the interval touches.
        temperature: None if the method gives no probabilities.
        notes: What users should know: too few images, what could not be done.
        source: Where it comes from, as plain values.
        shares: The shares of the quantiles that the thresholds are of; empty if they are of no kept quantiles.
    """

    choices: Choices
    phrases: tuple[str, ...]
    values: LevelValues | None
    n: int
    interval: Thresholds
    sets: Thresholds | None
    temperature: Temperature | None
    notes: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    shares: tuple[float, ...] = ()

    def intervals_of(self, answers: Answers) -> tuple[Numbers, Numbers]:
        """Return the lower and upper end of each image's interval, in the unit of the value, shape (N,).

        Raises:
            DataError: If the answers lack the spread, probabilities or quantiles that the thresholds are of.
        """
        low, high, width = _base(answers, self.choices, self.values, self.shares)
        ends = None if self.values is None else (self.values.minimum, self.values.maximum)
        if self.choices.by != BY_LEVEL or self.values is None:
            return interval_ends(low, high, self.interval.of(answers), width, ends)
        return self._by_level(low, high, width, answers.value, self.values)

    def _by_level(
        self, low: Numbers, high: Numbers, width: Numbers | float, value: Numbers, values: LevelValues
    ) -> tuple[Numbers, Numbers]:
        """Return the shortest interval that holds, of each level, the numbers within that level's threshold."""
        edges = values.edges.clip(values.minimum, values.maximum)
        center = np.clip(value, values.minimum, values.maximum)
        lower, upper = np.full(len(value), np.inf), np.full(len(value), -np.inf)
        for level, threshold in enumerate(self.interval.by_level(len(values.lower))):
            below, above = interval_ends(low, high, threshold, width)
            below, above = np.maximum(below, edges[level]), np.minimum(above, edges[level + 1])
            held = below <= above
            lower, upper = (
                np.where(held, np.minimum(lower, below), lower),
                np.where(held, np.maximum(upper, above), upper),
            )
        empty = lower > upper
        return np.where(empty, center, lower), np.where(empty, center, upper)

    def sets_of(self, answers: Answers) -> tuple[Levels, Levels] | None:
        """Return the first and the last level of each image's set, shape (N,); None if the levels are not known."""
        if self.sets is None:
            if self.values is None:
                return None
            lower, upper = self.intervals_of(answers)
            return self.values.level_at(lower), self.values.level_at(upper)
        if answers.probabilities is None:
            raise DataError("the sets of levels need probabilities, columns p(PHRASE); the predictions have none.")
        if self.choices.by == BY_LEVEL:
            bound = self.sets.by_level(answers.probabilities.shape[1])[None, :]
            return level_sets(answers.probabilities, self.choices.sets, bound)
        return level_sets(answers.probabilities, self.choices.sets, self.sets.of(answers))


def calibrate(
    answers: Answers,
    choices: Choices,
    *,
    values: LevelValues | None = None,
    phrases: Sequence[str] = (),
    level: ArrayLike | None = None,
    source: Mapping[str, Any] | None = None,
) -> Calibration:
    """Find thresholds and temperature on images with true numbers that the method was not trained on.

    Args:
        answers: What the method says of them, with targets, and groups if `choices.by` names a column.
        choices: What is asked for.
        values: The numbers of the levels, if the scale is known: intervals are then cut to it.
        phrases: The phrases of the levels.
        level: True levels, shape (N,); None takes them from the targets, if `values` is known.
        source: Where the answers come from, as plain values.

    Returns:
        The calibration. Where the method gives no distribution, intervals are absolute, and a note says so.

    Raises:
        DataError: If there are no images or no targets.
        ConfigError: If groups are asked for that are not there.
    """
    if answers.target is None or not len(answers.value):
        raise DataError("a calibration needs images with true numbers, a column target; these predictions have none.")
    notes: list[str] = []
    true = None if level is None else np.asarray(level, dtype=np.int64)
    if true is None and values is not None:
        true = values.level_at(answers.target)
    names = _names(answers, choices, true)
    choices = _possible(answers, choices, values, notes)
    shares: tuple[float, ...] = ()
    if choices.intervals == "quantiles" and _has_quantiles(answers, choices, values):
        assert answers.quantiles is not None
        shares = answers.quantiles.needed(choices.tails)
    low, high, width = _base(answers, choices, values, shares)
    scores = interval_scores(answers.target, low, high, width)
    interval = find_thresholds(scores, names, choices.coverage, notes, phrases if choices.by == BY_LEVEL else ())
    sets = temperature = None
    if not answers.is_certain and answers.probabilities is not None and true is not None:
        own = set_scores(answers.probabilities, choices.sets)[np.arange(len(true)), true]
        sets = find_thresholds(own, names, choices.coverage, [], ())
        temperature = fit_temperature(answers.probabilities, true, choices.temperature)
    return Calibration(
        choices=choices, phrases=tuple(phrases), values=values, n=len(answers.value), interval=interval, sets=sets,
        temperature=temperature, notes=tuple(notes), source=dict(source or {}), shares=shares,
    )  # fmt: skip


def _names(answers: Answers, choices: Choices, level: Levels | None) -> list[str] | None:
    """Return the group of each image, if groups are asked for."""
    if choices.by is None:
        return None
    if choices.by == BY_LEVEL:
        if level is None:
            raise ConfigError("by is 'level', but the scale is not known; give the configuration of the run.")
        return list(map(str, level.tolist()))
    if answers.groups is None:
        raise ConfigError(f"by is {choices.by!r}, but the predictions have no such column.")
    return list(map(str, answers.groups))


def _possible(answers: Answers, choices: Choices, values: LevelValues | None, notes: list[str]) -> Choices:
    """Return what can be done; without a distribution intervals are absolute."""
    lacking = ""
    if choices.intervals == "normalised" and answers.spread is None and (answers.is_certain or values is None):
        lacking = "a spread (a column spread, or probabilities and the scale)"
    known = _has_quantiles(answers, choices, values)
    if choices.intervals == "quantiles" and not known and (answers.is_certain or values is None):
        columns = " and ".join(f"q({share:g})" for share in choices.tails)
        lacking = f"a distribution (probabilities and the scale, or columns {columns})"
    if not lacking:
        return choices
    notes.append(f"{choices.intervals} intervals need {lacking}, which these predictions lack: they are absolute.")
    return replace(choices, intervals="absolute")


def _has_quantiles(answers: Answers, choices: Choices, values: LevelValues | None) -> bool:
    """Return whether there are kept quantiles that reach to the ends of the interval."""
    return answers.quantiles is not None and answers.quantiles.reaches(choices.tails, _ends(values))


def _ends(values: LevelValues | None) -> tuple[float, float] | None:
    """Return the numbers that a distribution over the values can reach."""
    return None if values is None else (float(values.edges[0]), float(values.edges[-1]))


def _base(
    answers: Answers, choices: Choices, values: LevelValues | None, shares: tuple[float, ...]
) -> tuple[Numbers, Numbers, Numbers | float]:
    """Return the interval that the threshold stretches, and the unit of its score; `shares` are those of quantiles."""
    if choices.intervals == "absolute":
        return answers.value, answers.value, 1.0
    if choices.intervals == "normalised":
        spread = answers.spread
        if spread is None:
            if answers.probabilities is None or values is None:
                raise DataError("these intervals need the spread of each image, a column spread; there is none.")
            spread = level_spread(answers.probabilities, values)
        # Half a step: a method that is surer than that knows the value as well as the scale does.
        half = 0.0 if values is None else values.half_step(answers.value)
        return answers.value, answers.value, np.maximum(spread, half)
    if shares:
        if answers.quantiles is None:
            raise DataError("these intervals need quantiles, columns such as q(0.05); there are none.")
        kept = answers.quantiles.only(shares)
        low, high = (kept.at(share, _ends(values)) for share in choices.tails)
        return low, high, 1.0
    if answers.probabilities is None or values is None:
        raise DataError("these intervals need the probability of each level, columns p(PHRASE); there are none.")
    low, high = (level_quantiles(answers.probabilities, values, share) for share in choices.tails)
    return low, high, 1.0

"""How far a prediction can be trusted: conformal intervals and sets, and a temperature. NumPy alone, for every room."""

from numclip_lightning.calibration.answers import Answers, Choices
from numclip_lightning.calibration.conformal import (
    Intervals,
    Threshold,
    conformal_threshold,
    fewest_images,
    interval_ends,
    interval_scores,
)
from numclip_lightning.calibration.distributions import LevelValues, level_quantiles, level_spread
from numclip_lightning.calibration.fitted import Calibration, calibrate
from numclip_lightning.calibration.level_sets import SEPARATOR, Sets, level_sets, set_scores
from numclip_lightning.calibration.stored import (
    CALIBRATION,
    calibration_of,
    plain_calibration,
    read_calibration,
    write_calibration,
)
from numclip_lightning.calibration.temperature import Temperature, fit_temperature, with_temperature

__all__ = [
    "CALIBRATION",
    "SEPARATOR",
    "Answers",
    "Calibration",
    "Choices",
    "Intervals",
    "LevelValues",
    "Sets",
    "Temperature",
    "Threshold",
    "calibrate",
    "calibration_of",
    "conformal_threshold",
    "fewest_images",
    "fit_temperature",
    "interval_ends",
    "interval_scores",
    "level_quantiles",
    "level_sets",
    "level_spread",
    "plain_calibration",
    "read_calibration",
    "set_scores",
    "with_temperature",
    "write_calibration",
]

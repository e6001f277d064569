"""Checks of arrays that come from users and from files."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numclip_lightning.errors import ConfigError, DataError

__all__ = ["Levels", "Numbers", "check_coverage", "check_rows", "numbers_of", "probabilities_of"]

Numbers = NDArray[np.float64]
Levels = NDArray[np.int64]

# Rows of probabilities are written with the digits of float32, or with few digits by other programs.
_SUM_TOLERANCE = 0.02


def check_coverage(coverage: float) -> None:
    """Raise ConfigError unless a coverage lies between 0 and 1."""
    if not 0 < coverage < 1:
        raise ConfigError(f"coverage is {coverage}; give a share between 0 and 1, such as 0.9.")


def numbers_of(name: str, given: ArrayLike) -> Numbers:
    """Return numbers as float64 of shape (N,).

    Raises:
        DataError: If they have another shape, or one is not finite.
    """
    numbers = np.asarray(given, dtype=np.float64)
    if numbers.ndim != 1:
        raise DataError(f"{name} has the shape {numbers.shape}; give one number for each image.")
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise DataError(f"{name} has {numbers[wrong[0]]} at image {wrong[0] + 1}; leave that image out.")
    return numbers


def probabilities_of(given: ArrayLike) -> Numbers:
    """Return probabilities as float64 of shape (N, K), with sums of exactly 1 up to rounding.

    Raises:
        DataError: If they have another shape, or a row is no distribution.
    """
    shares = np.asarray(given, dtype=np.float64)
    if shares.ndim != 2 or not shares.shape[1]:
        raise DataError(f"probabilities have the shape {shares.shape}; give one for each image and level.")
    sums = shares.sum(axis=1)
    good = np.isfinite(shares).all(axis=1) & (shares >= 0).all(axis=1) & (np.abs(sums - 1) < _SUM_TOLERANCE)
    wrong = np.flatnonzero(~good)
    if len(wrong):
        raise DataError(
            f"the probabilities of image {wrong[0] + 1} are no distribution (their sum is {sums[wrong[0]]:.4g}); "
            "each is 0 or more, and together they are 1."
        )
    scaled: Numbers = shares / sums[:, None]
    return scaled


def check_rows(**arrays: Any) -> None:
    """Raise DataError unless all arrays that are not None have as many rows."""
    lengths = {name: len(array) for name, array in arrays.items() if array is not None}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"there are different numbers of images: {listed}; give the same images in the same order.")

"""Several readers, one answer: the mean of predictions of the same images, and where the readers disagree.

Source: the mean of softmaxes as in COOkeD (arXiv 2507.22576); variances by the law of total variance.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from numclip_lightning.calibration.quantiles import quantile_columns
from numclip_lightning.errors import DataError
from numclip_lightning.report.answers import answers_of
from numclip_lightning.report.predictions import probability_columns
from numclip_lightning.scale import OrdinalScale

__all__ = ["Joined", "combine", "join_variances"]

# What is computed again, or is of one reader alone.
_OWN = ("value", "error", "phrase", "most_probable", "spread", "disagreement", "lower", "upper", "phrases_in_set",
        "on_scale")  # fmt: skip


class Joined(NamedTuple):
    """The numbers of several readers as one, each of shape (N,).

    Attributes:
        value: The mean of their numbers.
        spread: The square root of the total variance: the mean of their variances and the variance of their numbers.
        disagreement: The square root of the second part alone.
    """

    value: NDArray[np.float64]
    spread: NDArray[np.float64]
    disagreement: NDArray[np.float64]


def join_variances(values: ArrayLike, spreads: ArrayLike) -> Joined:
    """Join numbers and spreads by the law of total variance, `mean_m Var_m + Var_m(v_m)`.

    Where the numbers are means of distributions, that is exactly the variance of the mean distribution. Where they are
    medians, or other readings, it is its counterpart about them.

    Args:
        values: The number of each reader for each image, shape (M, N).
        spreads: Standard deviations, (M, N); NaN for a reader that gives the number alone.

    Example:
        >>> join_variances([[1.0, 5.0], [3.0, 5.0]], [[1.0, 2.0], [1.0, 2.0]]).disagreement
        array([1., 0.])
    """
    numbers, deviations = np.asarray(values, dtype=np.float64), np.asarray(spreads, dtype=np.float64)
    known = ~np.isnan(deviations)
    within = np.where(known, deviations**2, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    between = numbers.var(axis=0)
    return Joined(numbers.mean(axis=0), np.sqrt(within + between), np.sqrt(between))


def combine(frames: Sequence[pd.DataFrame], scale: OrdinalScale, names: Sequence[str]) -> pd.DataFrame:
    """Join the predictions of several readers for the same images.

    Args:
        frames: Predictions, see `read_answers`; with paths and maybe targets.
        scale: The scale of all of them.
        names: A name for each, for messages.

    Returns:
        The columns of a file of predictions, in the order of the first: numbers are means, probabilities means over the
        readers that give distributions, and `disagreement` is beside `spread`. What is no prediction (path, target,
        groups, attributes) is the first one's.

    Raises:
        DataError: If images, targets or phrases differ.
    """
    first, others = frames[0], [_in_order_of(frames[0], frame, names[0], name)
                                for frame, name in zip(frames[1:], names[1:], strict=True)]  # fmt: skip
    answers = [answers_of(frame) for frame in (first, *others)]
    for frame, name in zip(frames, names, strict=True):
        if phrases := [column[2:-1] for column in probability_columns(frame)]:
            _same(phrases == scale.phrases, f"{name} has the phrases {', '.join(phrases)}, not those of its scale")
    unknown = np.full(len(first), np.nan)
    joined = join_variances(
        [one.value for one in answers],
        [unknown if one.spread is None or one.is_certain else one.spread for one in answers],
    )
    sure = [one.probabilities for one in answers if one.probabilities is not None]
    # A reader that gives the number alone has all its probability at one level, which is no distribution.
    open_ = [one.probabilities for one in answers if one.probabilities is not None and not one.is_certain]
    shares = np.mean(open_ or sure, axis=0) if sure else None
    return _columns(first, joined, shares, scale)


def _columns(
    first: pd.DataFrame, joined: Joined, shares: NDArray[np.float64] | None, scale: OrdinalScale
) -> pd.DataFrame:
    # Quantiles of a mean distribution are no means of quantiles, and can't be had from them.
    own = {*_OWN, *probability_columns(first), *quantile_columns(first.columns)}
    kept = [name for name in first.columns if name not in own]
    table = first[["path"]].copy()
    table = table.join(first[[name for name in ("target", "true_phrase") if name in kept]])
    table["value"] = joined.value
    if "target" in table:
        table["error"] = joined.value - table["target"]
    phrases = np.array(scale.phrases, dtype="object")
    table["phrase"] = phrases[scale.level_at(torch.from_numpy(joined.value)).numpy()]
    if shares is not None:
        table["most_probable"] = phrases[shares.argmax(axis=1)]
        table = table.join(pd.DataFrame(shares, table.index, [f"p({phrase})" for phrase in scale.phrases]))
    table["spread"] = joined.spread
    table["disagreement"] = joined.disagreement
    return table.join(first[[name for name in kept if name not in table]])


def _in_order_of(first: pd.DataFrame, frame: pd.DataFrame, name: str, other: str) -> pd.DataFrame:
    """Return predictions in the order of others of the same images; refuse other images and targets."""
    for one, where in ((first, name), (frame, other)):
        _same("path" in one, f"{where} has no column path, by which images are joined")
    if first["path"].tolist() != frame["path"].tolist():
        ours, theirs = set(first["path"]), set(frame["path"])
        if missing := sorted(ours - theirs) or sorted(theirs - ours):
            counts = f"{len(ours - theirs)} of its {len(ours)} images are not in {other}"
            raise DataError(f"{name} and {other} are not of the same images: {counts}, first {missing[0]}.")
        doubled = first["path"].duplicated().any() or frame["path"].duplicated().any()
        _same(not doubled, f"{name} and {other} have images twice, in another order")
        frame = frame.set_index("path").loc[first["path"]].reset_index()
    if "target" in first and "target" in frame:
        differ = np.flatnonzero(~np.isclose(first["target"], frame["target"]))
        if len(differ):
            row = int(differ[0])
            numbers = f"{first['target'].iloc[row]:g} and {frame['target'].iloc[row]:g}"
            raise DataError(f"{name} and {other} have other targets: {numbers} for {first['path'].iloc[row]}.")
    return frame


def _same(holds: bool, fault: str) -> None:
    if not holds:
        raise DataError(f"{fault}; only predictions of the same images on the same scale can be joined.")

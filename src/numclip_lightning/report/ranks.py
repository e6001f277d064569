"""Methods compared over many data sets by rank: Wilcoxon of two, Friedman of more, Nemenyi's critical difference.

Source: Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 2006.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import friedmanchisquare, rankdata, studentized_range, wilcoxon

from numclip_lightning.errors import ConfigError

__all__ = ["RankComparison", "compare_ranks", "critical_difference", "undecided", "wilcoxon_test"]


@dataclass(frozen=True, kw_only=True)
class RankComparison:
    """Several methods over several data sets.

    Attributes:
        ranks: The mean rank of each method, in the order given; 1 is the best.
        statistic: Friedman's chi-square.
        p: Its p-value: were all methods alike, how often ranks would differ as much.
        critical_difference: How far two mean ranks are apart at least, for a difference to be shown (Nemenyi).
        datasets: How many data sets there are.
    """

    ranks: tuple[float, ...]
    statistic: float
    p: float
    critical_difference: float
    datasets: int


def wilcoxon_test(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test of two methods over the same data sets.

    Differences of 0 are left out. p is exact up to 50 data sets without ties, as `scipy.stats.wilcoxon` decides.

    Args:
        ours: The result of the one method on each data set, shape (N,).
        theirs: Of the other, of the same data sets in the same order.

    Returns:
        p; 1.0 where they are equal on every data set.

    Raises:
        ConfigError: If the shapes differ, there is no number, or one is not finite.

    Example:
        >>> wilcoxon_test([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.1, 2.2, 3.3, 4.4, 5.5, 6.6])
        0.03125
    """
    one, other = _table(ours), _table(theirs)
    if one.ndim != 1 or one.shape != other.shape:
        raise ConfigError(
            f"ours has the shape {one.shape} and theirs {other.shape}; give one number for each data set."
        )
    differences = one - other
    if not differences.any():
        return 1.0
    return float(wilcoxon(differences).pvalue)


def compare_ranks(results: ArrayLike, *, lower_is_better: bool, level: float = 0.05) -> RankComparison:
    """Rank methods on each data set, and test whether their mean ranks differ (Friedman).

    Args:
        results: Shape (N, k): a row for each of at least 2 data sets, a column for each of at least 3 methods.
        lower_is_better: Whether rank 1 is the least number of a row. Equal numbers share their mean rank.
        level: At which the critical difference holds, between 0 and 1.

    Returns:
        Mean ranks, test and critical difference; p is 1.0 where all methods are equal on every data set.

    Raises:
        ConfigError: If there are fewer data sets or methods, a number is not finite, or `level` is out of range.

    Example:
        >>> found = compare_ranks([[3.1, 3.0, 4.0], [2.2, 2.0, 2.5], [5.0, 4.0, 6.0]], lower_is_better=True)
        >>> found.ranks, round(found.p, 3), round(found.critical_difference, 3)
        ((2.0, 1.0, 3.0), 0.05, 1.914)
    """
    table = _table(results)
    if table.ndim != 2 or table.shape[0] < 2 or table.shape[1] < 3:
        raise ConfigError(
            f"results have the shape {table.shape}; give a row for each of 2 data sets or more, and a column for each "
            "of 3 methods or more (of two, take wilcoxon_test)."
        )
    ranks = rankdata(table if lower_is_better else -table, axis=1)
    statistic, p = 0.0, 1.0
    # All tied everywhere: the statistic would be 0/0.
    if (table != table[:, :1]).any():
        test = friedmanchisquare(*table.T)
        statistic, p = float(test.statistic), float(test.pvalue)
    return RankComparison(
        ranks=tuple(float(rank) for rank in ranks.mean(axis=0)),
        statistic=statistic,
        p=p,
        critical_difference=critical_difference(table.shape[1], table.shape[0], level=level),
        datasets=table.shape[0],
    )


def critical_difference(methods: int, datasets: int, *, level: float = 0.05) -> float:
    """Return Nemenyi's critical difference of mean ranks: `q sqrt(k (k + 1) / (6 N))`.

    q is the upper quantile of the studentized range of k means with infinite degrees of freedom, divided by sqrt(2).

    Args:
        methods: k, at least 2.
        datasets: N, at least 1.
        level: Of the test, between 0 and 1.

    Raises:
        ConfigError: If an argument is out of range.

    Example:
        >>> round(critical_difference(5, 30), 3)
        1.114
    """
    if methods < 2 or datasets < 1 or not 0 < level < 1:
        raise ConfigError(
            f"methods is {methods}, datasets is {datasets} and level is {level}; give 2 methods or more, 1 data set or "
            "more, and a level between 0 and 1, such as 0.05."
        )
    q = float(studentized_range.ppf(1 - level, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * datasets))


def undecided(ranks: ArrayLike, difference: float) -> list[tuple[int, ...]]:
    """Return the largest sets of methods among which no difference is shown: the bars of a critical-difference picture.

    Args:
        ranks: The mean rank of each method, shape (k,).
        difference: The critical difference; two ranks this far apart or farther are told apart.

    Returns:
        Each set of 2 or more, as places in `ranks`, best first; sets may share methods.

    Example:
        >>> undecided([3.0, 1.0, 1.5, 2.2], 1.0)
        [(1, 2), (2, 3), (3, 0)]
    """
    mean = np.asarray(ranks, dtype=np.float64)
    order = np.argsort(mean, kind="stable")
    found: list[tuple[int, ...]] = []
    reached = 0
    for first in range(len(order)):
        last = first + int((mean[order[first:]] - mean[order[first]] < difference).sum())
        # A set inside the one before it has the same end.
        if last > reached and last - first > 1:
            found.append(tuple(int(place) for place in order[first:last]))
        reached = max(reached, last)
    return found


def _table(results: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(results, dtype=np.float64)
    if not table.size or not np.isfinite(table).all():
        raise ConfigError("the results lack a number or have one that is not finite; leave out what is incomplete.")
    return table

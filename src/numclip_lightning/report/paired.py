"""Is a method better than another, or were its runs lucky? A paired t-test, corrected for asking more than once."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy.stats import ttest_rel

from numclip_lightning.report.results import Results

__all__ = ["ASSUMPTIONS", "LEVEL", "Comparison", "compare", "holm"]

LEVEL = 0.05
ASSUMPTIONS = (
    "The test is a two-sided paired t-test over the runs that both methods have (same dataset, shots, fold and seed; a "
    "method that learns nothing is paired by fold and seed). It assumes that the differences are independent and "
    "normally distributed. Seeds that share a test set, and folds that share training images, are not wholly "
    "independent, so that true p-values are larger than the printed ones. p-values are corrected after Holm for all "
    "comparisons of one table. Three runs have little power (two degrees of freedom): no difference shown is not no "
    "difference. What was selected on the test set is not paired with what wasn't."
)
# Differences that vary by less than this share of the numbers themselves vary by rounding only.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Comparison:
    """One method against the reference.

    Attributes:
        method: The method.
        shots: At how many shots; None where neither of both learns anything.
        n: How many pairs of runs there are.
        difference: Mean of method minus reference over the pairs, in the unit of the runs; None below two pairs.
        low: Lower end of its 95 % confidence interval.
        high: Upper end.
        p: The p-value; None below two pairs, and where the differences don't vary.
        corrected: The p-value after Holm.
    """

    method: str
    shots: int | None
    n: int
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    corrected: float | None = None

    def verdict(self, lower_is_better: bool) -> str:
        """Return in words what the test says."""
        if self.n < 2:
            return "fewer than 2 pairs: no test"
        if self.difference is None or self.corrected is None:
            return "equal in every pair" if self.difference == 0 else "the same difference in every pair: no test"
        if self.corrected >= LEVEL:
            return "no difference shown"
        return "better" if (self.difference < 0) == lower_is_better else "worse"


def compare(results: Results, dataset: str, metric: str, reference: str) -> list[Comparison]:
    """Test each method on a dataset against one of them, at every number of shots.

    A two-sided paired t-test (`scipy.stats.ttest_rel`) over the runs that both have. What it assumes, and what three
    seeds can't show, stands in `ASSUMPTIONS`, which every report prints.

    Args:
        results: All runs.
        dataset: Which dataset.
        metric: Which metric.
        reference: The method that the others are tested against.

    Returns:
        One comparison for each other method and number of shots; Holm's correction is over all of them.
    """
    found: list[Comparison] = []
    columns = results.columns(dataset)
    for method in results.methods(dataset):
        if method == reference:
            continue
        varies = results.trains(dataset, method) or results.trains(dataset, reference)
        for shots in columns if varies else columns[-1:]:
            ours, theirs = (results.numbers(dataset, name, shots, metric) for name in (method, reference))
            fair = len({results.is_paper(dataset, name, shots) for name in (method, reference)}) == 1
            pairs = [(ours[pair], theirs[pair]) for pair in ours if fair and pair in theirs]
            found.append(_test(Comparison(method, shots if varies else None, len(pairs)), pairs))
    corrected = iter(holm([one.p for one in found if one.p is not None]))
    return [one if one.p is None else replace(one, corrected=next(corrected)) for one in found]


def _test(comparison: Comparison, pairs: Sequence[tuple[float, float]]) -> Comparison:
    if len(pairs) < 2:
        return comparison
    differences = [ours - theirs for ours, theirs in pairs]
    mean = statistics.fmean(differences)
    spread = max(abs(difference - mean) for difference in differences)
    if spread <= _ROUNDING * max(abs(number) for pair in pairs for number in pair):
        # The t-value would be 0/0, or infinite and "certain" after two runs.
        return replace(comparison, difference=mean)
    result = ttest_rel(*zip(*pairs, strict=True))
    interval = result.confidence_interval(0.95)
    return replace(
        comparison, difference=mean, low=float(interval.low), high=float(interval.high), p=float(result.pvalue)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for how many there are, after Holm (1979).

    The i-th smallest of m is multiplied with m - i + 1; none falls below the one before it, none rises above 1.

    Args:
        p_values: The p-values, each 0 to 1.

    Returns:
        The corrected ones, in the same order.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = largest
    return corrected

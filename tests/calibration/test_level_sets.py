"""Conformal sets of levels against slow loops over every interval, and the coverage that they promise."""

import numpy as np
import pytest

from numclip_lightning.calibration import Answers, Choices, LevelValues, calibrate, level_sets, set_scores

GRADES = LevelValues((0, 1, 2, 3, 4), (0, 1, 2, 3, 4), 1)


def drawn(n: int, levels: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(levels, 0.7), n)


def shortest(row: list[float], threshold: float) -> tuple[int, int]:
    """Return the shortest interval whose mass exceeds a threshold by trying all; of equals the most probable."""
    best = (len(row), 0.0, 0, len(row) - 1)
    for first in range(len(row)):
        for last in range(first, len(row)):
            mass = round(sum(row[first : last + 1]), 12)
            if mass > threshold:
                best = min(best, (last - first + 1, -mass, first, last))
    return best[2:]


class TestShortest:
    @pytest.mark.parametrize("threshold", [0.0, 0.3, 0.72, 0.9, 0.999])
    def test_is_the_shortest_of_all_intervals(self, threshold: float) -> None:
        shares = drawn(80, 6, 0)
        first, last = level_sets(shares, "shortest", threshold)
        assert list(zip(first, last, strict=True)) == [shortest(row, threshold) for row in shares.tolist()]

    def test_the_score_is_where_a_level_stays_for_good(self) -> None:
        shares = drawn(10, 5, 1)
        scores = set_scores(shares, "shortest")
        for row, found in zip(shares.tolist(), scores, strict=True):
            grid = np.linspace(0, 0.998, 500)
            sets = [shortest(row, threshold) for threshold in grid]
            for level, score in enumerate(found):
                out = [t for t, (first, last) in zip(grid, sets, strict=True) if not first <= level <= last]
                assert score == pytest.approx(max(out, default=0.0), abs=4e-3)

    def test_without_a_threshold_all_levels_are_in_it(self) -> None:
        first, last = level_sets(drawn(5, 4, 0), "shortest", np.inf)
        assert first.tolist() == [0] * 5
        assert last.tolist() == [3] * 5


class TestRPS:
    def test_score_against_a_slow_loop(self) -> None:
        shares = drawn(40, 5, 2)
        slow = [
            [sum((sum(row[: k + 1]) - (y <= k)) ** 2 for k in range(5)) for y in range(5)] for row in shares.tolist()
        ]
        np.testing.assert_allclose(set_scores(shares, "rps"), slow, atol=1e-12)

    def test_levels_below_any_threshold_have_no_gap(self) -> None:
        scores = set_scores(drawn(200, 7, 3), "rps")
        for threshold in (0.1, 0.5, 1.0, 2.0):
            inside = scores <= threshold
            assert (np.abs(np.diff(np.pad(inside.astype(int), ((0, 0), (1, 1))), axis=1)).sum(axis=1) <= 2).all()

    def test_an_empty_set_becomes_the_median(self) -> None:
        first, last = level_sets([[0.3, 0.3, 0.4]], "rps", -1.0)
        assert (first.tolist(), last.tolist()) == ([1], [1])


@pytest.mark.parametrize("kind", ["shortest", "rps"])
@pytest.mark.parametrize("by", [None, "level"])
def test_sets_hold_the_promised_share(kind: str, by: str | None) -> None:
    overall, hardest = [], []
    for seed in range(30):
        shares = drawn(700, 5, seed)
        # Labels from other shares than those that are claimed, and worst at the last level.
        true = (0.6 * shares + 0.4 * np.array([0, 0.1, 0.2, 0.3, 0.4])).cumsum(axis=1)
        level = (np.random.default_rng(seed).random((700, 1)) > true).sum(axis=1).clip(0, 4)
        known, new = (
            Answers(value=level[part], target=level[part], spread=np.ones(350), probabilities=shares[part])
            for part in (slice(350), slice(350, 700))
        )
        fitted = calibrate(known, Choices(sets=kind, by=by), values=GRADES)  # type: ignore[arg-type]
        first, last = fitted.sets_of(new)  # type: ignore[misc]
        held = (first <= level[350:]) & (level[350:] <= last)
        overall.append(held.mean())
        hardest.append(held[level[350:] == 4].mean())
    assert np.mean(overall) > 0.89
    if by is None:
        assert np.mean(overall) < 0.93
        # The price of one threshold for all.
        assert np.mean(hardest) < 0.89
    else:
        assert np.mean(hardest) > 0.89

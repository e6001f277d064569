"""AUROC and false positives at a recall, against scikit-learn; their intervals, against many draws."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics.separation import auroc, false_positives, separation


def scores(shift: float = 1.0, sizes: tuple[int, int] = (80, 60), seed: int = 0) -> tuple[list[float], list[float]]:
    random = np.random.default_rng(seed)
    # Rounded, so that some are tied.
    return (random.normal(shift, 1, sizes[0]).round(1).tolist(), random.normal(0, 1, sizes[1]).round(1).tolist())


@pytest.mark.parametrize("shift", [-1.0, 0.0, 2.0])
def test_the_area_is_that_of_scikit_learn_and_turns_around(shift: float) -> None:
    on, off = scores(shift)
    expected = roc_auc_score([1] * len(on) + [0] * len(off), on + off)
    assert auroc(on, off) == pytest.approx(expected, abs=1e-12)
    assert auroc(off, on) == pytest.approx(1 - expected, abs=1e-12)


@pytest.mark.parametrize("recall", [0.5, 0.95, 1.0])
def test_false_positives_are_those_of_the_strictest_threshold_with_that_recall(recall: float) -> None:
    on, off = scores()
    passing, recalls, _ = roc_curve([1] * len(on) + [0] * len(off), on + off, drop_intermediate=False)
    assert false_positives(on, off, recall) == pytest.approx(passing[recalls >= recall - 1e-12].min(), abs=1e-12)


def test_intervals_hold_the_figure_and_narrow_with_more_images() -> None:
    few, many = (separation(*scores(sizes=sizes), resamples=300) for sizes in ((60, 60), (900, 900)))
    for found in (few, many):
        assert found.auroc_low < found.auroc < found.auroc_high
        assert found.false_positives_low <= found.false_positives <= found.false_positives_high
    assert many.auroc_high - many.auroc_low < (few.auroc_high - few.auroc_low) / 2
    # Of a normal score one deviation apart, the area is Phi(1 / sqrt 2) = 0.760.
    assert many.auroc_low < 0.760 < many.auroc_high
    assert str(many).startswith(f"AUROC {many.auroc:.3f} (")


def test_groups_are_drawn_whole() -> None:
    on, off = scores()
    alone = separation(on, off, groups=list(range(len(on))), resamples=200)
    assert alone == separation(on, off, resamples=200)
    # Ten copies of each image are no more images.
    copied = separation(on * 10, off, groups=list(range(len(on))) * 10, resamples=200)
    assert copied.auroc == pytest.approx(alone.auroc)
    assert (copied.auroc_low, copied.auroc_high) == pytest.approx((alone.auroc_low, alone.auroc_high), abs=0.02)
    naive = separation(on * 10, off, resamples=200)
    assert naive.auroc_high - naive.auroc_low < copied.auroc_high - copied.auroc_low


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auroc([], [1]), "at least one"),
        (lambda: auroc([1], [float("nan")]), "off has nan at place 0"),
        (lambda: false_positives([1], [1], recall=0), "recall is 0"),
        (lambda: separation([1], [1, 2]), "needs 2 or more"),
        (lambda: separation([1, 2], [1, 2], groups=["a"]), "groups has 1 entries"),
    ],
)
def test_bad_scores_are_refused(call: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        call()  # type: ignore[operator]

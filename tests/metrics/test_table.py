"""The table of metrics: labels, digits, the direction of each class; unknown metrics are refused."""

import pytest

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics import level_metrics, measure_of, value_metrics
from numclip_lightning.metrics.table import METRICS


@pytest.mark.parametrize(
    ("metric", "title", "lower", "text"),
    [
        ("test_mae", "Mean absolute error", True, "0.87"),
        ("val_mae", "Mean absolute error", True, "0.87"),
        ("test_epsilon", "Epsilon-error", True, "0.869"),
        ("test_acc", "Accuracy (%)", False, "86.92"),
        ("test_acc_within_1", "Accuracy within 1 level (%)", False, "86.92"),
        ("test_acc_within_2", "Accuracy within 2 levels (%)", False, "86.92"),
        ("test_cs5", "Cumulative score at 5 (%)", False, "86.92"),
        ("test_cs0_5", "Cumulative score at 0.5 (%)", False, "86.92"),
        ("test_qwk", "Quadratic kappa", False, "0.869"),
        ("test_spearman", "Spearman's correlation", False, "0.869"),
    ],
)
def test_a_metric_has_its_title_direction_and_digits(metric: str, title: str, lower: bool, text: str) -> None:
    measure = measure_of(metric)
    assert (measure.title, measure.lower_is_better, measure.text(0.86921)) == (title, lower, text)


def test_every_metric_that_methods_log_is_in_the_table_with_its_class() -> None:
    for collection in (value_metrics(5), value_metrics(0.5), level_metrics(3)):
        for name, metric in collection.items():
            assert isinstance(metric, measure_of(f"test_{name}").metric)


def test_the_collections_have_every_row_of_the_table() -> None:
    assert set(value_metrics(0.5).keys()) == {"mae", "spearman", "cs0_5"}
    assert set(level_metrics(3).keys()) == {"acc", "acc_within_1", "qwk"}
    # The epsilon-error needs the spread of guesses, which few datasets have.
    assert len(METRICS) == 7


def test_every_class_knows_which_way_is_better() -> None:
    assert all(row.metric.higher_is_better in (True, False) for row in METRICS.values())


def test_nothing_is_minus_zero() -> None:
    assert measure_of("test_mae").text(-0.001) == "0.00"


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("test_maee", "metrics has 'test_maee', .* did you mean 'test_mae'"),
        ("mae", "metrics has 'mae', which is not known"),
        ("train_mae", r"metrics has 'train_mae'.* Known are test_mae, test_epsilon, test_acc"),
        ("test_csx", "metrics has 'test_csx'"),
    ],
)
def test_an_unknown_metric_is_refused(metric: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        measure_of(metric)

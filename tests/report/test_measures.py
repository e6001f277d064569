"""Metrics are known by name, with the way that is better; others are refused."""

import pytest
from numclip_lightning.report.measures import measure_of

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics import level_metrics, value_metrics
from numclip_lightning.report.published import published_figures


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
def test_a_metric_says_what_it_is(metric: str, title: str, lower: bool, text: str) -> None:
    measure = measure_of(metric)
    assert (measure.title, measure.lower_is_better, measure.text(0.86921)) == (title, lower, text)


def test_every_metric_that_methods_log_is_known() -> None:
    names = [*value_metrics(5).keys(), *value_metrics(0.5).keys(), *level_metrics(3).keys()]
    assert all(measure_of(f"test_{name}").label for name in names)


def test_nothing_is_minus_zero() -> None:
    assert measure_of("test_mae").text(-0.001) == "0.00"


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("test_maee", "metrics has 'test_maee', .* did you mean 'test_mae'"),
        ("mae", "metrics has 'mae', of which it isn't known whether lower or higher is better"),
        ("train_mae", r"metrics has 'train_mae'.* Known are test_mae, test_epsilon, test_acc"),
        ("test_csx", "metrics has 'test_csx'"),
    ],
)
def test_what_is_not_known_is_refused(metric: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        measure_of(metric)


def test_published_figures_are_the_four_with_a_source() -> None:
    found = {
        (name, figure.method, figure.metric, figure.value, figure.source)
        for name in ("morph", "historical", "aesthetics")
        for figure in published_figures(name)
    }
    paper = "NumCLIP, ECCV 2024"
    assert found == {
        ("morph", "NumCLIP", "test_mae", 2.08, paper),
        ("historical", "NumCLIP", "test_acc", 0.6961, paper),
        ("aesthetics", "NumCLIP", "test_mae", 0.23, paper),
        ("aesthetics", "NumCLIP", "test_acc", 0.7653, paper),
    }
    with pytest.raises(ConfigError, match=r"published is 'morp'; choose one of .* did you mean 'morph'"):
        published_figures("morp")

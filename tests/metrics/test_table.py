"""The table of metrics: names, digits, directions, what is chosen by a name; unknown metrics are refused."""

import pytest
import yaml

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics import DEFAULT, build_metrics, choose, default_tolerance, measure_of
from numclip_lightning.metrics.table import GROUPS, METRICS
from numclip_lightning.scale import OrdinalScale
from numclip_lightning.scale.levels import LevelDict
from support.metric_inputs import SCALE, draw
from support.places import REPOSITORY

every_row = pytest.mark.parametrize("key", METRICS)


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
        ("test_rmse", "Root mean squared error", True, "0.87"),
        ("test_bias", "Bias (mean signed error)", True, "0.87"),
        ("test_ece", "Expected calibration error (%)", True, "86.92"),
        ("test_rps", "Ranked probability score", True, "0.869"),
        ("test_min_sensitivity", "Minimum sensitivity (%)", False, "86.92"),
    ],
)
def test_a_metric_has_its_title_direction_and_digits(metric: str, title: str, lower: bool, text: str) -> None:
    measure = measure_of(metric)
    assert (measure.title, measure.lower_is_better, measure.text(0.86921)) == (title, lower, text)


@every_row
def test_a_row_is_updated_with_what_it_needs(key: str) -> None:
    row = METRICS[key]
    if row.needs == "spread":
        pytest.skip("only lists with the spread of guesses have it; the method updates it by itself")
    assert row.make(SCALE, 1)(*draw(row.needs, 30, seed=0)).numel() == 1


def test_labels_are_told_apart() -> None:
    assert len({row.label for row in METRICS.values()}) == len(METRICS)


def test_the_bias_nearest_to_0_is_the_best() -> None:
    bias = measure_of("test_bias")
    assert (bias.direction, bias.size(-2.0), bias.text(-2.0)) == ("nearer to 0", 2.0, "-2.00")
    assert measure_of("test_mae").direction == "lower"
    assert measure_of("test_acc").direction == "higher"


def test_nothing_is_minus_zero() -> None:
    assert measure_of("test_mae").text(-0.001) == "0.00"


class TestChoice:
    def test_the_default_is_six(self) -> None:
        assert choose(DEFAULT, 5) == ["mae", "acc", "acc_within_1", "cs5", "qwk", "spearman"]

    @pytest.mark.parametrize(
        ("tolerance", "key"),
        [(5, "cs5"), (5.0, "cs5"), (0.5, "cs0_5"), (1e7, "cs10000000"), (1e-05, "cs0_00001"), (0, "cs0")],
    )
    def test_the_tolerance_names_its_key(self, tolerance: float, key: str) -> None:
        keys = choose(["default"], tolerance)
        assert key in keys
        assert build_metrics(keys, SCALE)["value"][key].tolerance == tolerance

    def test_the_error_that_selects_is_always_there(self) -> None:
        assert choose(["rps"], 5) == ["mae", "rps"]
        assert choose([], 5) == ["mae"]
        assert choose("rps", 5) == ["mae", "rps"]

    def test_all_has_every_row_but_that_of_the_spread(self) -> None:
        patterns = {key.format(1) for key in METRICS if key != "epsilon"}
        assert set(choose(["all"], 1)) == patterns
        assert set(GROUPS) == {"default", "values", "levels", "probabilities", "all"}

    def test_numbers_in_keys(self) -> None:
        metrics = build_metrics(choose(["cs3", "cs0_5", "acc_within_2"], 5), SCALE)
        assert [metrics["value"][key].tolerance for key in ("cs3", "cs0_5")] == [3, 0.5]
        assert metrics["level"]["acc_within_2"].tolerance == 2

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("rmsee", r"metrics has 'rmsee', which is not known; did you mean 'rmse'.* Known are the groups default, "),
            ("probability", "did you mean 'probabilities'"),
            ("epsilon", "metrics has 'epsilon', which is not known"),
            ("acc_within_0_5", "metrics has 'acc_within_0_5'"),
            ("test_rmse", "did you mean 'rmse'"),
        ],
    )
    def test_an_unknown_name_is_refused(self, name: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            choose(["default", name], 5)

    @pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf")])
    def test_a_tolerance_that_is_no_distance_is_refused(self, tolerance: float) -> None:
        with pytest.raises(ConfigError, match=r"tolerance is .*; give a distance of 0 or more"):
            choose(DEFAULT, tolerance)

    def test_a_key_without_a_row_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="no metric has the key 'rmsee'"):
            build_metrics(["rmsee"], SCALE)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("test_maee", "metrics has 'test_maee', .* did you mean 'test_mae'"),
        ("mae", "metrics has 'mae', which is not known"),
        ("train_mae", r"metrics has 'train_mae'.* Known are test_mae, test_rmse, test_bias"),
        ("test_csx", "metrics has 'test_csx'"),
    ],
)
def test_an_unknown_metric_is_refused(metric: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        measure_of(metric)


@pytest.mark.parametrize(
    ("minimum", "maximum", "step", "tolerance"),
    [
        (0, 116, 1, 5), (16, 77, 1, 5), (1, 60, 1, 5), (0, 100, 1, 5),
        (0, 4, 1, 1), (0, 27, 1, 1), (0, 10, 0.5, 0.5), (0, 5, 0.01, 0.2), (1930, 1970, 10, 10), (0, 40, 0.5, 2),
        (0, 200, 1, 10), (0, 1_000_000, 1, 50_000), (-1e-3, 1e-3, 1e-5, 1e-4), (0, 100, 20, 20), (3, 3, 1, 1),
    ],
)  # fmt: skip
def test_the_tolerance_fits_the_scale(minimum: float, maximum: float, step: float, tolerance: float) -> None:
    levels: list[LevelDict] = [{"phrase": "all", "start": minimum}]
    assert default_tolerance(OrdinalScale(minimum, maximum, step, levels=levels)) == pytest.approx(tolerance)


@pytest.mark.parametrize("name", ["morph", "utkface", "fgnet", "clap2015", "faces_mini", "counting"])
def test_the_configurations_of_ages_keep_cs5(name: str) -> None:
    config = yaml.safe_load((REPOSITORY / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert default_tolerance(OrdinalScale(**config["model"]["init_args"]["scale"])) == 5

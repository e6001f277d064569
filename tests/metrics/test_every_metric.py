"""What every metric keeps: batches, processes, no samples, another device, and its row in the table."""

import doctest
import importlib
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from numclip_lightning.metrics.by_count import ShotMAE
from numclip_lightning.metrics.by_level import LevelMAE
from numclip_lightning.metrics.curve import CumulativeScoreCurve
from numclip_lightning.metrics.table import METRICS
from support.metric_inputs import LEVELS, SCALE, draw

# Shares and correlations of nothing are 0, as of the other metrics; an error of 0 would pass for the best.
ZERO_OF_NOTHING = {"spearman", "plcc", "kendall", "ccc", "min_sensitivity", "curve"}
FIELD = [
    "spearman",
    *("rmse", "bias", "median_ae", "plcc", "kendall", "ccc", "amae", "mmae", "min_sensitivity"),
    *("rps", "crps", "nll", "brier", "ece"),
]
MODULES = [
    "by_count",
    "by_level",
    "calibration",
    "checks",
    "choice",
    "curve",
    "deviations",
    "distributions",
    "kendall",
    "moments",
    "sensitivity",
]

MAKERS: dict[str, tuple[str, Callable[[], Metric]]] = {
    **{key: (METRICS[key].needs, lambda key=key: METRICS[key].make(SCALE, 0)) for key in FIELD},  # type: ignore[misc]
    "curve": ("value", lambda: CumulativeScoreCurve([0.0, 1.0, 5.0])),
    "level_mae": ("level", lambda: LevelMAE(LEVELS)),
    "shots": ("value and rank", lambda: ShotMAE([500, 50, 5, 0, 100])),
}
every_metric = pytest.mark.parametrize("key", MAKERS)


def build(key: str) -> Metric:
    return MAKERS[key][1]()


def inputs(key: str, size: int, seed: int = 0) -> tuple[Tensor, ...]:
    return draw(MAKERS[key][0], size, seed)


def rows_of(batch: tuple[Tensor, ...], rows: slice) -> tuple[Tensor, ...]:
    return tuple(part[rows] for part in batch)


def result(metric: Metric) -> Tensor:
    found = metric.compute()
    return torch.stack(list(found.values())) if isinstance(found, dict) else torch.as_tensor(found)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6, equal_nan=True)


def synced_with(metric: Metric, other: Metric) -> Tensor:
    """Return what the first of two processes computes after torchmetrics gathered the states of both."""
    theirs: Iterator[Tensor] = iter(
        torch.cat(state) if isinstance(state, list) else state for state in other.metric_state.values()
    )
    metric.dist_sync_fn = lambda ours, **_: [ours, next(theirs)]
    metric.distributed_available_fn = lambda: True
    return result(metric)


def sent_by(metric: Metric) -> list[torch.dtype]:
    """Return the dtypes of the tensors that a process sends to the others."""
    sent: list[Tensor] = []

    def gather(ours: Tensor, **_: object) -> list[Tensor]:
        sent.append(ours)
        return [ours]

    metric.sync(dist_sync_fn=gather, distributed_available=lambda: True)
    return [tensor.dtype for tensor in sent]


@every_metric
class TestEveryMetric:
    def test_batches_equal_one_pass(self, key: str) -> None:
        batch = inputs(key, 101)
        whole, parts = build(key), build(key)
        whole.update(*batch)
        for start in range(0, 101, 13):
            parts.update(*rows_of(batch, slice(start, start + 13)))
        close(result(parts), result(whole))

    def test_calling_it_returns_the_batch_and_keeps_all(self, key: str) -> None:
        batch = inputs(key, 40)
        first, second = (rows_of(batch, rows) for rows in (slice(0, 15), slice(15, 40)))
        metric, alone, whole = build(key), build(key), build(key)
        metric(*first)
        found = metric(*second)
        alone.update(*second)
        whole.update(*batch)
        close(torch.stack(list(found.values())) if isinstance(found, dict) else found, result(alone))
        close(result(metric), result(whole))

    def test_merged_processes_equal_one(self, key: str) -> None:
        batch = inputs(key, 41)
        one, first, second = build(key), build(key), build(key)
        one.update(*batch)
        first.update(*rows_of(batch, slice(0, None, 2)))
        second.update(*rows_of(batch, slice(1, None, 2)))
        second.merge_state(first)
        close(result(second), result(one))

    def test_synchronised_processes_equal_one(self, key: str) -> None:
        batch = inputs(key, 41)
        one, first, second = build(key), build(key), build(key)
        one.update(*batch)
        first.update(*rows_of(batch, slice(0, 30)))
        second.update(*rows_of(batch, slice(30, 41)))
        close(synced_with(first, second), result(one))

    @pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
    def test_a_process_without_samples_counts_for_nothing(self, key: str) -> None:
        batch = inputs(key, 41)
        one, first, second = build(key), build(key), build(key)
        one.update(*batch)
        second.update(*batch)
        close(synced_with(first, second), result(one))

    def test_a_process_without_samples_sends_what_the_others_send(self, key: str) -> None:
        # Gloo aborts a process that receives numbers of another size.
        first, second = build(key).to("cpu"), build(key).to("cpu")
        second.update(*inputs(key, 41))
        assert sent_by(first) == sent_by(second)

    def test_updates_without_samples_are_harmless(self, key: str) -> None:
        batch, nothing = inputs(key, 40), inputs(key, 0)
        plain, mixed = build(key), build(key)
        plain.update(*batch)
        for part in (nothing, batch, nothing):
            mixed.update(*part)
        close(result(mixed), result(plain))

    def test_of_nothing(self, key: str) -> None:
        metric = build(key)
        metric.update(*inputs(key, 0))
        found = result(metric)
        assert (found == 0).all() if key in ZERO_OF_NOTHING else found.isnan().all()

    def test_a_single_sample_is_defined(self, key: str) -> None:
        metric = build(key)
        metric.update(*inputs(key, 1))
        found = result(metric)
        assert found.isfinite().any() if key in ("level_mae", "shots") else found.isfinite().all()

    def test_reset_forgets(self, key: str) -> None:
        metric, fresh = build(key), build(key)
        metric.update(*inputs(key, 20, seed=1))
        metric.reset()
        for one in (metric, fresh):
            one.update(*inputs(key, 20, seed=2))
        close(result(metric), result(fresh))

    def test_shapes_that_would_broadcast_are_refused(self, key: str) -> None:
        first, *others = inputs(key, 3)
        with pytest.raises((ValueError, RuntimeError), match="shape"):
            build(key).update(first[:, None], *others)

    def test_gradients_are_not_kept(self, key: str) -> None:
        first, *others = inputs(key, 5)
        metric = build(key)
        metric.update(first.requires_grad_() if first.is_floating_point() else first, *others)
        assert not result(metric).requires_grad

    def test_updating_asks_the_device_for_nothing(self, key: str) -> None:
        # Tensors of this device have no values to ask for.
        metric = build(key).to("meta")
        metric.update(*(part.to("meta") for part in inputs(key, 7)))

    def test_it_adds_nothing_to_a_checkpoint(self, key: str) -> None:
        metric = build(key)
        metric.update(*inputs(key, 20))
        assert not metric.state_dict()

    def test_a_clone_goes_its_own_way(self, key: str) -> None:
        metric, batch = build(key), inputs(key, 20)
        metric.update(*batch)
        clone = metric.clone()
        before = result(clone)
        metric.update(*inputs(key, 20, seed=9))
        close(result(clone), before)


def test_shots_log_a_name_for_each_group() -> None:
    metrics = MetricCollection({"shots": ShotMAE([500, 50, 5, 0, 100])}, prefix="val_")
    assert set(metrics(*draw("value and rank", 30, seed=0))) == {"val_mae_many", "val_mae_medium", "val_mae_few"}


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_the_docstrings(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"numclip_lightning.metrics.{module}"))
    assert found.failed == 0

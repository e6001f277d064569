"""The argument `metrics`: what each split measures, against scikit-learn on the predictions themselves."""

from typing import Any

import pytest
import torch
from sklearn.metrics import mean_squared_error, recall_score
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base import Prediction
from numclip_lightning.methods.sord import SORD
from numclip_lightning.metrics import choose
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import SCALE, TINY, bright, loader, quiet_trainer

register_tiny_clips()
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

DEFAULT = ["mae", "acc", "acc_within_1", "cs1", "qwk", "spearman"]
TARGETS = [0.0, 1.0, 2.0, 2.0, 4.0, 6.0, 6.0]


def images() -> list[dict[str, Tensor]]:
    return bright(TARGETS, noise=1)


def measured(split: str, found: dict[str, Any]) -> set[str]:
    return {key.removeprefix(f"{split}_") for key in found if key.startswith(split) and "loss" not in key}


def fitted(**arguments: Any) -> dict[str, float]:
    """The numbers of a fit of one epoch."""
    torch.manual_seed(0)
    runner = quiet_trainer(max_epochs=1)
    runner.fit(SORD(**TINY, lr_scheduler=None, **arguments), loader(images()), loader(images()))
    return {key: value.item() for key, value in runner.callback_metrics.items()}


def test_training_pays_for_the_default_alone() -> None:
    found = fitted(metrics=["all"])
    assert measured("val", found) == set(choose(["all"], 1))
    assert measured("train", found) == set(DEFAULT)


def test_training_leaves_out_what_nobody_asked_for() -> None:
    found = fitted(metrics=["acc", "rps"])
    assert measured("val", found) == {"mae", "acc", "rps"}
    assert measured("train", found) == {"mae", "acc"}


def test_more_metrics_change_none_of_the_default() -> None:
    few, many = fitted(), fitted(metrics=["all"])
    assert measured("val", few) == measured("train", few) == set(DEFAULT)
    assert {key: many[key] for key in few} == few


def test_the_numbers_are_those_of_the_predictions() -> None:
    method = SORD(**TINY, metrics=["default", "rmse", "bias", "amae", "min_sensitivity", "rps", "nll"])
    runner = quiet_trainer()
    runner.test(method, loader(images()), verbose=False)
    found = {key: value.item() for key, value in runner.callback_metrics.items()}
    batches = runner.predict(method, loader(images()))
    assert batches is not None
    predicted = Prediction(*(torch.cat(parts) for parts in zip(*batches, strict=True)))
    target = torch.tensor(TARGETS)
    level = SCALE.to_level(target)
    error = predicted.value - target
    onehot_below = (level[:, None] <= torch.arange(SCALE.num_levels)).double()
    expected = {
        "rmse": mean_squared_error(target, predicted.value) ** 0.5,
        "bias": error.mean().item(),
        "amae": torch.stack([error[level == k].abs().mean() for k in torch.unique(level)]).mean().item(),
        "min_sensitivity": recall_score(level, predicted.level, labels=torch.unique(level), average=None).min(),
        "rps": ((predicted.probabilities.double().cumsum(1) - onehot_below) ** 2).sum(1).mean().item(),
        "nll": -predicted.probabilities[torch.arange(len(level)), level].log().mean().item(),
    }
    assert {key: found[f"test_{key}"] for key in expected} == pytest.approx(expected, abs=1e-5)


def test_each_process_counts_its_own_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    method = SORD(**TINY, metrics=["all"])
    runner = quiet_trainer()
    monkeypatch.setattr(method, "own_samples", lambda batch, _: batch["index"] % 2 == 0)
    runner.test(method, loader(images()), verbose=False)
    half = {key: value.item() for key, value in runner.callback_metrics.items()}
    monkeypatch.undo()
    runner.test(method, loader(images()[::2]), verbose=False)
    assert half == pytest.approx({key: value.item() for key, value in runner.callback_metrics.items()}, abs=1e-6)


def test_the_choice_is_kept_in_a_checkpoint_as_plain_values() -> None:
    method = SORD(**TINY, metrics=("default", "rps"))
    assert method.hparams["metrics"] == ["default", "rps"]
    assert SORD(**TINY).hparams["metrics"] == ["default"]


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match="metrics has 'rsme', which is not known; did you mean 'rmse'"):
        SORD(**TINY, metrics=["default", "rsme"])

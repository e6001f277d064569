"""A frozen image tower sees every image once in a fit, and the results are those of a tower that sees them always."""

import logging
import math
from typing import Any

import lightning as L
import pytest
import torch

from numclip_lightning.cli import main
from numclip_lightning.data.counting import CountingDataModule
from numclip_lightning.errors import ConfigError
from numclip_lightning.methods import CoOp, LearningRates
from numclip_lightning.runs.features import KeepFeatures
from numclip_lightning.scale import OrdinalScale
from support.command import Numclip, config_of, metrics_of

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

SCALE = OrdinalScale(1, 60, levels=[{"phrase": "few", "start": 1}, {"phrase": "many", "start": 9}])
TRAIN, VAL, BATCH, EPOCHS = 22, 9, 4, 3


def data(**arguments: Any) -> CountingDataModule:
    sizes = {"num_train": TRAIN, "num_val": VAL, "num_test": 5, "batch_size": BATCH, "image_size": 32}
    return CountingDataModule(**{**sizes, "augment": False, **arguments})


class Watched:
    """A fit of CoOp from one seed, and how many images its tower has seen."""

    def __init__(
        self,
        callback: KeepFeatures,
        module: CountingDataModule,
        rate: float = 0.0,
        *,
        looks: bool = False,
        **arguments: Any,
    ) -> None:
        torch.manual_seed(1)
        rates = LearningRates(image_encoder=rate, adapter=0, context=2e-3, phrases=0, head=0)
        self.method = CoOp(
            scale=SCALE, backbone="tiny-vit", pretrained=None, names="phrases", num_context=4, learning_rates=rates,
            mirror=looks, test_time_augmentation=looks,
        )  # fmt: skip
        self.seen = 0
        self.keys: set[str] = set()
        self.method.clip.visual.register_forward_hook(self.count)
        self.trainer = L.Trainer(
            accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=[callback], **{"max_epochs": EPOCHS, **arguments},
        )  # fmt: skip
        self.trainer.fit(self.method, datamodule=module)
        self.metrics = {name: value.item() for name, value in self.trainer.callback_metrics.items()}

    def count(self, tower: Any, inputs: Any, output: Any) -> None:
        self.seen += len(inputs[0])


def test_every_image_is_seen_once_and_the_results_are_the_same() -> None:
    kept, always = Watched(KeepFeatures(), data()), Watched(KeepFeatures(enabled=False), data())

    assert kept.seen == TRAIN + VAL
    assert always.seen == EPOCHS * (TRAIN + VAL) + 2 * BATCH  # with the sanity check
    assert kept.metrics == pytest.approx(always.metrics, rel=1e-5, abs=1e-5)
    assert len(kept.metrics) > 10
    assert kept.method.prompts.context is not None
    torch.testing.assert_close(kept.method.prompts.context, always.method.prompts.context, atol=1e-6, rtol=1e-5)


def test_augmented_images_are_seen_in_every_epoch_and_those_of_validation_once() -> None:
    assert Watched(KeepFeatures(), data(augment=True)).seen == EPOCHS * TRAIN + VAL


def test_a_tower_that_learns_sees_all_images_always() -> None:
    assert Watched(KeepFeatures(), data(), rate=1e-5, max_epochs=2).seen == 2 * (TRAIN + VAL) + 2 * BATCH


def test_trying_out_a_batch_does_not_encode_the_rest() -> None:
    only: dict[str, Any] = {"limit_train_batches": 1, "limit_val_batches": 1, "num_sanity_val_steps": 0}
    assert Watched(KeepFeatures(), data(), max_epochs=1, **only).seen == 2 * BATCH


def test_a_split_beyond_the_limit_is_encoded_in_every_epoch_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    # Features of 24 numbers: 22 training images take 2,112 bytes, 9 for validation 864.
    with caplog.at_level(logging.INFO, "numclip_lightning"):
        seen = Watched(KeepFeatures(most_gigabytes=1e-6), data()).seen

    assert seen == BATCH + EPOCHS * TRAIN + VAL  # the first batch was the measure
    assert "those of 22 train images would take 0.0 MB, more than features.most_gigabytes=1e-06" in caplog.text
    assert "9 val images encoded once" in caplog.text


def test_images_come_back_after_the_fit() -> None:
    module = data()
    run = Watched(KeepFeatures(), module, max_epochs=1)
    assert set(next(iter(module.train_dataloader()))) == {"image", "target", "index"}
    before = run.seen
    run.trainer.test(run.method, datamodule=module, verbose=False)
    assert run.seen == before + 5


@pytest.mark.parametrize("augment", [True, False])
def test_kept_features_are_those_of_as_many_looks(augment: bool) -> None:
    fits = [Watched(KeepFeatures(enabled=kept), data(augment=augment), looks=True) for kept in (True, False)]

    looks = 8 if augment else 2
    # Training images that are turned at random are never kept.
    train = TRAIN * (EPOCHS if augment else 1)
    assert [fit.seen for fit in fits] == [train + looks * VAL, EPOCHS * (TRAIN + looks * VAL) + looks * 2 * BATCH]
    kept, always = (fit.metrics for fit in fits)
    assert kept == pytest.approx(always, rel=1e-5, abs=1e-5)
    once = Watched(KeepFeatures(), data(augment=augment)).metrics
    assert kept["val_loss"] != pytest.approx(once["val_loss"], rel=1e-4)


def test_features_of_another_method_are_forgotten_where_a_fit_was_broken_off() -> None:
    module = data()
    module.keep_features(lambda split: torch.full((len(module.labels(split)), 24), math.nan))
    run = Watched(KeepFeatures(), module, max_epochs=1)
    assert math.isfinite(run.metrics["val_mae"])


@pytest.mark.parametrize("limit", [-1.0, math.nan])
def test_a_wrong_limit_is_refused(limit: float) -> None:
    with pytest.raises(ConfigError, match=r"most_gigabytes is (-1\.0|nan); give a number of 0 or more"):
        KeepFeatures(most_gigabytes=limit)


def test_the_command_keeps_features_and_can_be_told_not_to(
    numclip: Numclip, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--model=CoOp", "--model.names=phrases", "--model.num_context=4", "--data.augment=false",
        "--test_after_fit=true",
    ]  # fmt: skip
    kept = numclip("fit", *words)
    assert "21 train images encoded once" in capsys.readouterr().err
    always = numclip("fit", *words, "--features.enabled=false")
    assert "encoded once" not in capsys.readouterr().err
    assert config_of(always)["features"]["enabled"] is False
    found, expected = (
        {key: value for key, value in metrics_of(run).items() if isinstance(value, float)} for run in (kept, always)
    )
    assert len(expected) > 15
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_the_command_refuses_a_wrong_limit(numclip: Numclip, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", *numclip.flags, "--features.most_gigabytes=-1"]) == 2
    assert "features.most_gigabytes is -1" in capsys.readouterr().err

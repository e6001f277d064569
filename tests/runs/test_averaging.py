"""Averaged weights: a slow loop finds the same, and what is validated is what is kept, tested and resumed."""

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.sord import SORD
from numclip_lightning.runs.averaging import AverageWeights, decay_at
from numclip_lightning.runs.checkpoints import BestCheckpoint
from support.command import Numclip, failure, metrics_of
from support.tiny_fit import TARGETS, TINY, bright, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

STATISTICS = ("running_mean", "running_var")


class Recorder(Callback):
    """What the model holds after each step, and in each validation."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []
        self.validated: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self.steps.append({name: value.clone() for name, value in pl_module.state_dict().items()})

    def on_validation_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self.validated.append({name: value.clone() for name, value in pl_module.state_dict().items()})


def build() -> SORD:
    """A small method with batch normalisation, without a text tower."""
    torch.manual_seed(3)
    return SORD(**{**TINY, "backbone": "tiny-resnet", "lr_scheduler": None})


def fit(method: L.LightningModule, *callbacks: Callback, resume: str | None = None, **arguments: Any) -> L.Trainer:
    """Fit on batches in order, without sanity check, so that steps can be counted."""
    trainer = L.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, callbacks=list(callbacks), **arguments,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
    )  # fmt: skip
    train = loader(bright([*TARGETS, *TARGETS, 1.0, 3.0], noise=1))
    trainer.fit(method, train, loader(bright(TARGETS, noise=1)), ckpt_path=resume, weights_only=True)
    return trainer


def slow_average(steps: list[dict[str, Tensor]], name: str, decay: float) -> np.ndarray:
    found = steps[0][name].double().numpy()
    for t, state in enumerate(steps[1:], start=1):
        d = min(decay, (1 + t) / (10 + t))
        found = d * found + (1 - d) * state[name].double().numpy()
    return found


@pytest.mark.parametrize(("decay", "start"), [(0.9, 0), (0.3, 2)])
def test_the_average_is_that_of_a_slow_loop_and_all_else_is_as_trained(decay: float, start: int) -> None:
    recorder, method = Recorder(), build()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    # Before the recorder: it sees what the others see.
    fit(method, AverageWeights(decay, start), recorder, max_epochs=3)
    assert len(recorder.steps) == 9
    trained = {name for name, parameter in method.named_parameters() if parameter.requires_grad}
    for name, value in method.state_dict().items():
        if name in trained or name.endswith(STATISTICS):
            expected = slow_average(recorder.steps[start:], name, decay)
            np.testing.assert_allclose(value, expected, rtol=2e-5, atol=1e-6, err_msg=name)
            assert not torch.equal(value, recorder.steps[-1][name]), name
        else:
            assert torch.equal(value, recorder.steps[-1][name]), name
            assert torch.equal(value, before[name]) or "num_batches" in name, name
    assert any(name.endswith(STATISTICS) for name in before)


def test_a_validation_sees_the_average_and_training_goes_on_from_its_own_weights() -> None:
    recorder, plain = Recorder(), Recorder()
    fit(build(), AverageWeights(0.9), recorder, max_epochs=2)
    fit(build(), plain, max_epochs=2)
    for one, other in zip(recorder.steps, plain.steps, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    name = "clip.visual.conv1.weight"
    for steps, state in ((recorder.steps[:3], recorder.validated[0]), (recorder.steps, recorder.validated[1])):
        np.testing.assert_allclose(state[name], slow_average(steps, name, 0.9), rtol=2e-5, atol=1e-7)


def test_a_step_of_several_batches_counts_once() -> None:
    recorder, method = Recorder(), build()
    fit(method, AverageWeights(0.9), recorder, max_epochs=2, accumulate_grad_batches=2)
    # Batches 1, 2 and 3 of an epoch: a step after the second, and after the last.
    steps = [recorder.steps[i] for i in (1, 2, 4, 5)]
    name = "clip.visual.conv1.weight"
    np.testing.assert_allclose(method.state_dict()[name], slow_average(steps, name, 0.9), rtol=2e-5, atol=1e-7)


def keeper(folder: Path) -> ModelCheckpoint:
    return BestCheckpoint(folder, "best", "val_mae", save_last=True, mode="min", enable_version_counter=False)


def test_a_resumed_fit_continues_both_to_the_bit(tmp_path: Path) -> None:
    for folder, epochs, resume in (
        ("whole", 4, None),
        ("first", 2, None),
        ("second", 4, str(tmp_path / "first" / "last.ckpt")),
    ):
        fit(build(), AverageWeights(0.9), keeper(tmp_path / folder), resume=resume, max_epochs=epochs)
    whole, second, first = (
        torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "second", "first")
    )
    assert whole["averaging"]["updates"] == second["averaging"]["updates"] == 11
    for one, other, early in (
        (whole["state_dict"], second["state_dict"], first["state_dict"]),
        (whole["averaging"]["weights"], second["averaging"]["weights"], first["averaging"]["weights"]),
    ):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert not torch.equal(one["clip.visual.conv1.weight"], early["clip.visual.conv1.weight"])


def test_a_fit_resumed_from_a_checkpoint_without_an_average_begins_one(tmp_path: Path) -> None:
    fit(SORD(**TINY, lr_scheduler=None), keeper(tmp_path / "first"), max_epochs=1)
    recorder, method = Recorder(), SORD(**TINY, lr_scheduler=None)
    last = str(tmp_path / "first" / "last.ckpt")
    fit(method, AverageWeights(0.9), recorder, keeper(tmp_path / "second"), resume=last, max_epochs=2)
    name = "clip.visual.conv1.weight"
    np.testing.assert_allclose(method.state_dict()[name], slow_average(recorder.steps, name, 0.9), rtol=2e-5, atol=1e-7)


class Interruption(Callback):
    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        raise RuntimeError("pulled the plug")


def test_an_interrupted_validation_leaves_the_weights_as_trained() -> None:
    recorder, method = Recorder(), build()
    with pytest.raises(RuntimeError, match="pulled the plug"):
        fit(method, AverageWeights(0.9), recorder, Interruption(), max_epochs=1)
    assert all(torch.equal(value, recorder.steps[-1][name]) for name, value in method.state_dict().items())


def test_checkpoints_without_the_state_of_callbacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="save_weights_only keeps the weights of the last step"):
        fit(build(), AverageWeights(0.9), ModelCheckpoint(tmp_path, save_weights_only=True), max_epochs=1)


@pytest.mark.parametrize(("arguments", "word"), [((1.0,), "decay is 1.0"), ((-0.1,), "decay"), ((0.9, -1), "start is")])
def test_wrong_arguments_are_refused(arguments: tuple[Any, ...], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        AverageWeights(*arguments)


def test_a_second_fit_begins_a_new_average() -> None:
    callback, recorder = AverageWeights(0.9), Recorder()
    fit(SORD(**TINY, lr_scheduler=None), callback, max_epochs=1)
    method = SORD(**TINY, lr_scheduler=None)
    fit(method, callback, recorder, max_epochs=1)
    name = "head.weight"
    np.testing.assert_allclose(method.state_dict()[name], slow_average(recorder.steps, name, 0.9), rtol=2e-5, atol=1e-7)


def test_a_test_outside_a_fit_is_that_of_the_weights_that_are_there() -> None:
    method = SORD(**TINY)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    trainer = quiet_trainer(callbacks=[AverageWeights(0.9)])
    trainer.validate(method, loader(bright(TARGETS)), verbose=False)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_the_share_of_the_average_grows_with_the_steps() -> None:
    assert [round(decay_at(t, 0.999), 4) for t in (1, 10, 100, 10**6)] == [0.1818, 0.55, 0.9182, 0.999]


METHODS = {
    "NumCLIP": ["--model.backbone=tiny-resnet"],
    # It measures what it has selected after the end of the epoch.
    "TipAdapterF": ["--model.names=phrases", "--model.learning_rates.head=0.1"],
}


@pytest.mark.parametrize("name", ["NumCLIP", pytest.param("TipAdapterF", marks=pytest.mark.slow)])
def test_what_a_fit_reports_is_what_its_checkpoints_hold(name: str, numclip: Numclip) -> None:
    words = [f"--model={name}", *METHODS[name], "--model.lr_scheduler=null", "--trainer.max_epochs=3"]
    run = numclip(
        "fit",
        *words,
        "--averaging.decay=0.9",
    )
    reported = metrics_of(run)
    best = reported["best_checkpoint"]
    kept = torch.load(best, weights_only=True)
    weights = kept["averaging"]["weights"]
    assert weights
    assert any(not torch.equal(weights[key], kept["state_dict"][key]) for key in weights)
    config = ("--config", str(run / "config.yaml"), *numclip.small, "--ckpt_path", best)
    assert metrics_of(numclip.plain("validate", *config))["val_mae"] == reported["val_mae"]


def test_a_method_that_is_solved_is_left_alone(numclip: Numclip) -> None:
    run = numclip("fit", "--model=LinearProbe", "--averaging.decay=0.9", "--trainer.max_epochs=1")
    assert "averaging" not in torch.load(metrics_of(run)["best_checkpoint"], weights_only=True)


def test_a_wrong_flag_is_a_message(numclip: Numclip, capsys: pytest.CaptureFixture[str]) -> None:
    assert failure("fit", *numclip.flags, "--averaging.decay=1") == 2
    assert "averaging.decay is 1.0; give a number in [0, 1)" in capsys.readouterr().err

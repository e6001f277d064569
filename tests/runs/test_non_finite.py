"""A step that is not finite: its images are named, a file repeats it, or it is left out; exploding ones are said."""

import logging
import re
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from numclip_lightning.cli import main
from numclip_lightning.data import ListDataModule
from numclip_lightning.errors import ConfigError, RunError
from numclip_lightning.methods import SORD
from numclip_lightning.runs.exact import ExactResume
from numclip_lightning.runs.non_finite import NonFiniteSteps, replay
from numclip_lightning.runs.trainer import Trainer
from numclip_lightning.scale import OrdinalScale
from support.command import Numclip, metrics_of
from support.processes import in_processes
from support.tiny_fit import TINY, bright, loader, quiet_trainer

# One of the training images is too bright for any number.
BAD = 5


class Blind(Callback):
    """Spoils the features of one image, as a tower in half precision may."""

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        batch["image"][batch["index"] == BAD] = torch.inf


class Explode(Callback):
    """Makes the loss of the last steps a million times larger."""

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        if trainer.global_step == 8:
            for parameter in pl_module.parameters():
                if parameter.grad is not None:
                    parameter.grad *= 1e6


def test_the_images_are_named_and_a_file_repeats_the_step(numclip: Numclip, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--trainer.callbacks+=test_non_finite.Blind", "--model=SORD", "--report=false"]
    with numclip.new_folder() as found:
        assert main(["fit", *numclip.flags, *flags]) == 1
    error = capsys.readouterr().err
    assert re.search(
        r"the training has diverged: the gradient of \S+ and \d+ more is not finite at step \d+ \(epoch 0", error
    )
    assert f"train.txt:{BAD + 1} train_{BAD:03d}.png" in error
    assert "on_non_finite=skip" in error
    dump = found[0] / "non_finite.pt"
    assert f"replay({str(dump)!r})" in error
    again = replay(dump)
    assert not torch.isfinite(torch.tensor(again["gradient"]))
    kept = torch.load(dump, weights_only=True)
    assert all(weight.isfinite().all() for weight in kept["state_dict"].values()), "of before the step"
    # Without the image the step is as good as any.
    batch = kept["step"]["batch"]
    good = batch["index"] != BAD
    kept["step"]["batch"] = {name: found[good] for name, found in batch.items()}
    torch.save(kept, dump)
    assert 0 < replay(dump)["gradient"] < 1e3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork", "ignore:Found .* in eval mode")
def test_the_batch_of_another_process_and_of_an_earlier_step_is_found(tmp_path: Path, data: Path) -> None:
    """The bad image is in one of two processes, and in the first or the second of two batches that are summed up."""

    def work(rank: int) -> str:
        L.seed_everything(0, verbose=False)
        module = ListDataModule(
            root=str(data), train_file="train.txt", val_file="val.txt", image_size=32, batch_size=3, num_workers=0
        )
        method = SORD(scale=OrdinalScale(minimum=10, maximum=19), backbone="tiny-vit", pretrained=None)
        trainer = Trainer(
            accelerator="cpu", devices=2, accumulate_grad_batches=2, logger=False, enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False, max_epochs=1, num_sanity_val_steps=0,
            default_root_dir=tmp_path / "run", callbacks=[ExactResume(), Blind(), NonFiniteSteps()],
        )  # fmt: skip
        try:
            trainer.fit(method, module)
        except RunError as error:
            return str(error)
        return ""

    first, second = in_processes(2, tmp_path, work)
    assert first == second
    assert f"train.txt:{BAD + 1} train_{BAD:03d}.png" in first
    # Three images of one batch, and not the twelve of the step.
    assert first.partition("Images of this batch: ")[2].partition(". Likely")[0].count(".png") == 3
    dump = re.search(r"replay\('(.*)'\)", first)
    assert dump
    assert BAD in torch.load(dump[1], weights_only=True)["step"]["batch"]["index"].tolist()
    assert not torch.isfinite(torch.tensor(replay(dump[1])["gradient"]))


def test_skipped_steps_reach_no_weight(numclip: Numclip, caplog: pytest.LogCaptureFixture) -> None:
    run = numclip("fit", "--model=SORD", "--trainer.callbacks+=test_non_finite.Blind", "--on_non_finite=skip")
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert all(weight.isfinite().all() for weight in last["state_dict"].values())
    assert "on_non_finite=skip: 2 steps were left out" in caplog.text, "one of each epoch"
    assert f"train_{BAD:03d}.png" in caplog.text
    assert metrics_of(run)["val_mae"] < 10


def test_exploding_gradients_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    watch = NonFiniteSteps()
    trainer = quiet_trainer(max_epochs=6, log_every_n_steps=1, callbacks=[Explode(), watch])
    with caplog.at_level(logging.WARNING):
        samples = bright([0.0, 2.0, 4.0, 6.0])
        trainer.fit(SORD(**TINY, lr_scheduler=None), loader(samples, 2), loader(samples))
    assert caplog.text.count("the gradients explode: their norm at step 8 (epoch 4) is ") == 1


def test_a_wrong_choice_and_a_wrong_file_are_refused(fitted: Path) -> None:
    with pytest.raises(ConfigError, match="on_non_finite"):
        NonFiniteSteps("ignore")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="holds no step"):
        replay(fitted / "checkpoints" / "last.ckpt")

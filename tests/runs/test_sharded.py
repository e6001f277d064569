"""Image towers that are divided among processes (FSDP2), as docs/howto/clusters.md shows it: steps and a checkpoint."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from numclip_lightning.methods.sord import SORD
from numclip_lightning.runs.checkpoints import BestCheckpoint
from support.processes import in_processes
from support.tiny_fit import TARGETS, TINY, bright, loader

pytestmark = pytest.mark.filterwarnings("ignore:.*fork", "ignore:Using `DistributedSampler`", "ignore::FutureWarning")


class ShardedSORD(SORD):
    """SORD that is divided: each block by itself, and whatever is left, whose gradients would not be averaged."""

    def configure_model(self) -> None:
        if self.device_mesh:
            mesh = self.device_mesh["data_parallel"]
            for parameter in self.parameters():
                # The first convolution is in channels-last order, which can't be divided.
                parameter.data = parameter.data.contiguous()
            visual: Any = self.clip.visual
            for block in visual.transformer.resblocks:
                fully_shard(block, mesh=mesh)
            fully_shard(self, mesh=mesh)


def fit(kind: Any, folder: Path, strategy: Any) -> list[Any]:
    torch.manual_seed(0)
    rates = {"image_encoder": 0.01, "head": 0.01}
    method = kind(**TINY, lr_scheduler=None, learning_rates=rates)
    keeper = BestCheckpoint(folder, "best", "val_mae", save_last=True, mode="min", enable_version_counter=False)
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy=strategy, logger=False, enable_progress_bar=False, max_epochs=2,
        enable_model_summary=False, callbacks=[keeper], num_sanity_val_steps=0, deterministic=True,
    )  # fmt: skip
    samples = bright([*TARGETS, *TARGETS], noise=1)
    trainer.fit(method, loader(samples), loader(samples))
    divided = [name for name, parameter in method.named_parameters() if isinstance(parameter, DTensor)]
    return [len(divided), float(trainer.callback_metrics["val_mae"])]


@pytest.mark.slow
def test_divided_layers_are_trained_and_kept_as_whole_ones_are(tmp_path: Path) -> None:
    for name in ("whole", "divided"):
        (tmp_path / name).mkdir()
    expected = in_processes(2, tmp_path, lambda _: fit(SORD, tmp_path / "whole", "ddp"))
    found = in_processes(
        2,
        tmp_path,
        lambda _: fit(
            ShardedSORD, tmp_path / "divided", ModelParallelStrategy(2, 1, save_distributed_checkpoint=False)
        ),
    )
    assert [number for number, _ in found] == [len(list(SORD(**TINY).parameters()))] * 2
    assert [number for number, _ in expected] == [0, 0]
    assert [error for _, error in found] == pytest.approx([error for _, error in expected], abs=1e-3)
    kept, whole = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("divided", "whole"))
    for name, weight in whole["state_dict"].items():
        assert type(kept["state_dict"][name]) is torch.Tensor
        torch.testing.assert_close(kept["state_dict"][name], weight, atol=1e-3, rtol=1e-3, msg=name)
    # Whole, so that one process loads it.
    SORD(**TINY).load_state_dict(kept["state_dict"])

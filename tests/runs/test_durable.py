"""Files that are never half written: full disks, folders that may not be written to, killed saves."""

import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from numclip_lightning.cli import main
from numclip_lightning.errors import RunError
from numclip_lightning.runs.durable import DurableCheckpoints, replacing, write_whole
from support.command import Numclip, metrics_of
from support.rights import as_nobody, shared_folder

GOOD = {"weights": torch.arange(1000.0)}
LARGE = {"weights": torch.arange(1000.0).repeat(1000)}


@contextmanager
def disk_full_after(size: int) -> Iterator[None]:
    """Let no file grow beyond a number of bytes: writing more fails as on a full disk (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


class FillDisk(Callback):
    """Fills the disk in the second epoch, until the fit has ended."""

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch == 1:
            self._full = disk_full_after(50_000)
            self._full.__enter__()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._full.__exit__(None, None, None)


def loaded(file: Path) -> torch.Tensor:
    weights: torch.Tensor = torch.load(file, weights_only=True)["weights"]
    return weights


def test_a_full_disk_costs_no_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints" / "last.ckpt"
    DurableCheckpoints().save_checkpoint(GOOD, file)
    message = r"last.ckpt can't be written: .* The checkpoint that was there before is whole\. Make room on the disk"
    with disk_full_after(100_000), pytest.raises(RunError, match=message):
        DurableCheckpoints().save_checkpoint(LARGE, file)
    assert torch.equal(loaded(file), GOOD["weights"])
    assert [path.name for path in file.parent.iterdir()] == ["last.ckpt"], "nothing half written is left"
    DurableCheckpoints().save_checkpoint(LARGE, file)
    assert torch.equal(loaded(file), LARGE["weights"])


def test_a_tiny_disk_costs_no_checkpoint(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.system(f"mount -t tmpfs -o size=200k tmpfs {disk} 2>/dev/null") != 0:
        pytest.skip("no tmpfs can be mounted here")
    try:
        DurableCheckpoints().save_checkpoint(GOOD, disk / "last.ckpt")
        with pytest.raises(RunError, match="can't be written"):
            DurableCheckpoints().save_checkpoint(LARGE, disk / "last.ckpt")
        assert torch.equal(loaded(disk / "last.ckpt"), GOOD["weights"])
    finally:
        os.system(f"umount {disk}")


def test_a_folder_that_may_not_be_written_to_costs_no_checkpoint() -> None:
    with shared_folder() as folder:
        DurableCheckpoints().save_checkpoint(GOOD, folder / "last.ckpt")
        folder.chmod(0o555)
        message = r"last.ckpt can't be written: [^[]*Permission denied\. The checkpoint that was there before is whole"
        with as_nobody(), pytest.raises(RunError, match=message):
            DurableCheckpoints().save_checkpoint(LARGE, folder / "last.ckpt")
        assert torch.equal(loaded(folder / "last.ckpt"), GOOD["weights"])
        folder.chmod(0o755)


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_killed_save_leaves_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    file, rng = tmp_path / "last.ckpt", random.Random(0)
    DurableCheckpoints().save_checkpoint({"weights": torch.zeros(50_000)}, file)
    for _ in range(10):
        if (process := os.fork()) == 0:
            for number in range(10**6):
                DurableCheckpoints().save_checkpoint({"weights": torch.full((50_000,), float(number))}, file)
            os._exit(0)
        time.sleep(rng.uniform(0.005, 0.05))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        assert len(set(loaded(file).tolist())) == 1, "one save, and the whole of it"


def test_text_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    write_whole(file, "{}")
    with disk_full_after(10_000), pytest.raises(RunError, match=r"metrics.json can't be written"):
        write_whole(file, "x" * 100_000)
    assert file.read_text(encoding="utf-8") == "{}"
    with suppress(KeyboardInterrupt), replacing(file) as part:
        part.write_text("half", encoding="utf-8")
        raise KeyboardInterrupt
    assert file.read_text(encoding="utf-8") == "{}"
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    kept = tmp_path / "best.ckpt"
    DurableCheckpoints().save_checkpoint(GOOD, kept)
    (tmp_path / "last.ckpt").symlink_to("best.ckpt")
    DurableCheckpoints().save_checkpoint(LARGE, tmp_path / "last.ckpt")
    assert torch.equal(loaded(kept), GOOD["weights"])


def test_a_fit_that_can_not_keep_its_result_fails_and_says_what_is_kept(
    numclip: Numclip, capsys: pytest.CaptureFixture[str]
) -> None:
    fill = "--trainer.callbacks+=test_durable.FillDisk"
    with numclip.new_folder() as found:
        assert main(["fit", *numclip.flags, fill, "--report=false"]) == 1
    error = capsys.readouterr().err
    assert "can't be written" in error
    assert "The checkpoint that was there before is whole" in error
    last = torch.load(found[0] / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 0
    assert not (found[0] / "metrics.json").exists() or "val_mae" not in metrics_of(found[0])

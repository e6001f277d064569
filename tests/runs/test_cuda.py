"""On a GPU: every method fits, reads what the CPU reads, waits for the device in no step; bf16, NCCL, resume.

Skipped where there is no CUDA, as on our CI.
"""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from numclip_lightning.deploy import OrdinalPredictor
from numclip_lightning.methods import CORAL, CRPSClassifier, NumCLIP, NumCLIPPlus, OrdinalMethod
from support.command import Numclip, metrics_of, rows_of
from support.tiny_fit import LEARNING, TRAINED

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

GPU = ("--trainer.accelerator=gpu", "--trainer.devices=1")
# The scale has 9 values between its ends; convolutions compute in TF32 on a GPU.
CLOSE = 0.02


def words_of(kind: type[OrdinalMethod], numclip: Numclip) -> list[str]:
    flags = [word for word in numclip.flags if not word.startswith("--model=")]
    # Its tower reads the 16 tokens of CoOp's context and more.
    return [f"--model={kind.__name__}", *flags, "--model.backbone=tiny-timm"]


def values_of(run: Path, file: str) -> list[float]:
    return [float(row["value"]) for row in rows_of(run / file)]


def predicted(numclip: Numclip, run: Path, *words: str) -> list[float]:
    """The values that the best checkpoint of a run predicts."""
    config, best = str(run / "config.yaml"), str(run / "checkpoints" / "best.ckpt")
    again = numclip.plain("predict", "--config", config, "--ckpt_path", best, "--data.predict_path=test.txt", *words)
    return values_of(again, "predictions.csv")


@pytest.mark.parametrize("kind", LEARNING, ids=lambda kind: kind.__name__)
def test_a_fit_on_the_gpu_reads_the_same_on_the_cpu(kind: type[OrdinalMethod], numclip: Numclip) -> None:
    run = numclip.plain("fit", *words_of(kind, numclip), *GPU, "--test_after_fit=true")
    expected = values_of(run, "test_predictions.csv")
    assert predicted(numclip, run, "--trainer.accelerator=cpu") == pytest.approx(expected, abs=CLOSE)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("kind", [NumCLIP, NumCLIPPlus, CORAL, CRPSClassifier], ids=lambda kind: kind.__name__)
def test_half_precision_trains_and_reads_nearly_the_same(
    precision: str, kind: type[OrdinalMethod], numclip: Numclip
) -> None:
    half = f"--trainer.precision={precision}"
    run = numclip.plain("fit", *words_of(kind, numclip), *GPU, half, "--test_after_fit=true")
    whole = predicted(numclip, run, *GPU, "--trainer.precision=32-true")
    # bfloat16 keeps 8 bits: one part in 256 of each similarity.
    assert values_of(run, "test_predictions.csv") == pytest.approx(whole, abs=0.5)


def test_a_fit_in_a_process_group_on_nccl_reads_the_same_alone(numclip: Numclip) -> None:
    grouped = numclip.runs.with_name("grouped")
    there = Numclip(numclip.data, grouped)
    words = [*there.flags, *GPU, "--trainer.strategy=ddp", "--test_after_fit=true"]
    # A process of its own: a process group can't be left again. The tiny towers are known to this process alone.
    script = (
        "import sys; from support.tiny_clip import register_tiny_clips; from numclip_lightning.cli import main; "
        "register_tiny_clips(); sys.exit(main(sys.argv[1:]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, "fit", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert "nccl" in (result.stdout + result.stderr).lower()
    (run,) = grouped.iterdir()
    alone = predicted(there, run, "--trainer.accelerator=cpu", "--trainer.strategy=auto")
    assert values_of(run, "test_predictions.csv") == pytest.approx(alone, abs=CLOSE)


@pytest.mark.parametrize(("first", "then"), [("gpu", "cpu"), ("cpu", "gpu")])
def test_a_fit_is_resumed_on_the_other_device(first: str, then: str, numclip: Numclip) -> None:
    schedule = "--model.lr_scheduler=null"
    run = numclip("fit", schedule, f"--trainer.accelerator={first}", "--trainer.max_epochs=1")
    last = str(run / "checkpoints" / "last.ckpt")
    resumed = numclip("fit", schedule, f"--trainer.accelerator={then}", "--trainer.max_epochs=3", "--ckpt_path", last)
    straight = numclip("fit", schedule, "--trainer.accelerator=cpu", "--trainer.max_epochs=3")
    assert metrics_of(resumed)["val_mae"] == pytest.approx(metrics_of(straight)["val_mae"], abs=0.2)


def test_the_predictor_reads_the_same_on_both_devices(numclip: Numclip) -> None:
    run = numclip("fit", *GPU)
    images = sorted(numclip.data.glob("test_*.png"))
    readings = [OrdinalPredictor.load(run, device=device)(images) for device in ("cuda", "cpu")]
    first, second = ([reading.value for reading in found] for found in readings)
    assert first == pytest.approx(second, abs=CLOSE)


def waits_of(step: Callable[..., Any], arguments: Sequence[Any]) -> tuple[Any, list[str]]:
    """What a step returns, and where it waited for the device."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            result = step(*arguments)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return result, [f"{w.filename}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)]


@pytest.mark.parametrize("kind", TRAINED, ids=lambda kind: kind.__name__)
def test_no_step_waits_for_the_device(
    kind: type[OrdinalMethod], numclip: Numclip, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[list[str]] = []
    step = kind.training_step

    def watched(self: OrdinalMethod, *arguments: Any) -> Any:
        result, found = waits_of(step, (self, *arguments))
        waits.append(found)
        return result

    monkeypatch.setattr(kind, "training_step", watched)
    numclip.plain("fit", *words_of(kind, numclip), *GPU)
    # The first step builds what is kept.
    assert len(waits) > 2
    assert [found for found in waits[1:] if found] == []

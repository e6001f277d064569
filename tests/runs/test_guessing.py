"""What guessing costs: constant answers against NumPy, in metrics.json and in words."""

from pathlib import Path

import numpy as np
import pytest

from numclip_lightning.runs.guessing import Guess, Result, guess
from numclip_lightning.scale import OrdinalScale
from support.command import Numclip, metrics_of

SCALE = OrdinalScale(minimum=0, maximum=9, levels=[{"phrase": "few", "start": 0}, {"phrase": "many", "start": 5}])


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_median_and_the_commonest_level_of_the_training_targets(seed: int) -> None:
    generator = np.random.default_rng(seed)
    train, targets = generator.integers(0, 10, 31), generator.integers(0, 10, 17)
    found = guess(train.tolist(), targets.tolist(), SCALE)
    common = int((train >= 5).mean() > 0.5)
    assert found.value == np.median(train)
    assert found.phrase == ["few", "many"][common]
    assert found.mae == pytest.approx(np.abs(targets - np.median(train)).mean())
    assert found.acc == pytest.approx(((targets >= 5) == common).mean())


@pytest.mark.parametrize(
    ("mae", "verdict"),
    [
        (1.5, ""),
        (1.95, "hardly better than guessing"),
        (2.0, "no better than guessing"),
        (3.0, "no better than guessing"),
        (float("nan"), "no better than guessing"),
    ],
)
def test_a_result_is_judged_by_it(mae: float, verdict: str) -> None:
    result = Result("val", mae, 0.5, Guess(4.0, "few", 2.0, 0.4), "things")
    assert result.verdict == verdict
    assert bool(result.advice(Path("runs/x/config.yaml"))) == bool(verdict)


def test_a_fit_that_learns_nothing_says_so_and_what_to_try(
    numclip: Numclip, capsys: pytest.CaptureFixture[str], data: Path
) -> None:
    rates = "{image_encoder: 1e-12, adapter: 0, context: 0, phrases: 0, head: 0}"
    run = numclip("fit", "--trainer.max_epochs=1", f"--model.learning_rates={rates}", "--test_after_fit=true")
    metrics, out = metrics_of(run), capsys.readouterr().out

    def targets(split: str) -> list[float]:
        lines = (data / f"{split}.txt").read_text(encoding="utf-8").splitlines()
        return [float(line.split()[1]) for line in lines]

    median = np.median(targets("train"))
    for split in ("val", "test"):
        assert metrics[f"{split}_guess_mae"] == pytest.approx(np.abs(np.array(targets(split)) - median).mean())
        assert 0 <= metrics[f"{split}_guess_acc"] <= 1
        assert f"{split}: MAE {metrics[f'{split}_mae']:.4g}" in out
    if metrics["val_mae"] >= metrics["val_guess_mae"]:
        assert "This is no better than guessing" in out
        assert f"fit --config {run / 'config.yaml'} --config configs/methods/linear_probe.yaml" in out


def test_a_test_without_the_training_list_says_nothing_of_it(fitted: Path, numclip: Numclip) -> None:
    best = str(fitted / "checkpoints" / "best.ckpt")
    run = numclip("test", f"--ckpt_path={best}", "--data.train_file=null", "--data.val_file=null")
    assert "test_mae" in metrics_of(run)
    assert "test_guess_mae" not in metrics_of(run)

"""Every method by its name alone: its checkpoint predicts what the fit's own test found, and can be trained on."""

import math
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

from numclip_lightning.methods import OrdinalMethod
from support.command import Numclip, metrics_of, rows_of
from support.tiny_fit import LEARNING

# They have little of their own between a fit and a prediction, and other tests.
ALIKE = {"AMU", "AntonymScale", "AttentionMIL", "CapSAdapter", "CLIPDR", "GDA", "L1Regression", "TipAdapterF"}


def one_of_each_family() -> Iterator[Any]:
    """Every method; those with the same bases of `methods.base` as one before are slow."""
    seen: set[tuple[type, ...]] = set()
    for kind in LEARNING:
        family = tuple(base for base in kind.__mro__ if base.__module__.startswith("numclip_lightning.methods.base"))
        yield pytest.param(
            kind, marks=pytest.mark.slow if family in seen or kind.__name__ in ALIKE else (), id=kind.__name__
        )
        seen.add(family)


@pytest.mark.parametrize("kind", list(one_of_each_family()))
def test_a_checkpoint_predicts_and_goes_on(kind: type[OrdinalMethod], numclip: Numclip) -> None:
    flags = [word for word in numclip.flags if not word.startswith("--model=")]
    # Its tower reads the 16 tokens of CoOp's context and more.
    words = [f"--model={kind.__name__}", *flags, "--model.backbone=tiny-timm"]
    if "lr_scheduler" in {argument.name for argument in fields(kind) if argument.init}:
        # One that ends with the first epoch could not go on.
        words.append("--model.lr_scheduler=null")
    run = numclip.plain("fit", *words, "--trainer.max_epochs=1", "--test_after_fit=true")

    config, best = ["--config", str(run / "config.yaml")], str(run / "checkpoints" / "best.ckpt")
    predicted = numclip.plain("predict", *config, "--ckpt_path", best, "--data.predict_path=test.txt")
    tested = rows_of(run / "test_predictions.csv")
    found, expected = (
        [float(row["value"]) for row in rows] for rows in (rows_of(predicted / "predictions.csv"), tested)
    )
    assert found == pytest.approx(expected, abs=1e-4)

    last = str(run / "checkpoints" / "last.ckpt")
    resumed = metrics_of(numclip.plain("fit", *config, "--ckpt_path", last, "--trainer.max_epochs=2"))
    assert math.isfinite(resumed["val_mae"])

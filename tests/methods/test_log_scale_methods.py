"""Every method on a logarithmic scale: it learns and reads logarithms, answers in the unit, or is refused by name."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods import (
    CLIPEBC,
    CORAL,
    SORD,
    AntonymScale,
    CRPSClassifier,
    L1Regression,
    NumCLIP,
    NumCLIPPlus,
    OrdinalMethod,
    RankAxis,
)
from numclip_lightning.methods.base.mixing import MixSpec, mix_batch
from numclip_lightning.models.heads import build_decoder
from numclip_lightning.report.counts import read_counts
from numclip_lightning.runs.counts import COUNTS, count_images
from numclip_lightning.scale import OrdinalScale
from support.tiny_fit import LEARNING, loader, quiet_trainer

LOG = OrdinalScale(
    minimum=10, maximum=10_000, step=1.2, unit="dollars", template="a thing for {} dollars", spacing="log",
    levels=[{"phrase": "cheap", "start": 10}, {"phrase": "fair", "start": 150}, {"phrase": "dear", "start": 2000}],
)  # fmt: skip
TINY: dict[str, Any] = {"scale": LOG, "backbone": "tiny-timm", "pretrained": None}
TARGETS = [10.0, 60.0, 300.0, 1500.0, 4000.0, 10_000.0]
SUMS = {"CLIPEBCBlocks", "ZIP"}


def shades(targets: list[float]) -> list[dict[str, Tensor]]:
    """Images whose brightness is the logarithm of the target."""
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.randn(3, 32, 32, generator=generator) * 0.05 + (math.log10(target) - 2.5) / 1.5,
            "target": torch.tensor(target),
            "index": torch.tensor(index),
        }
        for index, target in enumerate(targets)
    ]


def batch_of(method: OrdinalMethod) -> dict[str, Tensor]:
    (batch,) = loader(shades(TARGETS), len(TARGETS))
    return method.on_before_batch_transfer(batch, 0)


@pytest.mark.parametrize("kind", LEARNING, ids=lambda kind: kind.__name__)
def test_every_method_answers_in_the_unit_or_is_refused(kind: type[OrdinalMethod]) -> None:
    if kind.__name__ in SUMS:
        with pytest.raises(ConfigError, match=f"{kind.__name__} adds up the counts of blocks.*spacing=linear"):
            kind(**TINY)
        return
    torch.manual_seed(0)
    method = kind(**TINY).eval()
    assert OrdinalScale.of(method.hparams["scale"]) == LOG
    batch = batch_of(method)
    with torch.no_grad():
        output = method(batch["image"])
        losses = method.losses(output, batch)
    assert output.value.isfinite().all()
    assert (output.value > 9).all()
    assert (output.value < 11_000).all()
    assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize("decode", ["expectation", "median", "argmax"])
def test_decoders_read_logarithms(decode: Any) -> None:
    logits = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    axis = LOG.axis
    found = build_decoder(decode, axis.centers, lower=axis.lower, upper=axis.upper, logarithmic=True)(logits)
    lower, upper = LOG.lower.double().log().numpy(), LOG.upper.double().log().numpy()
    for value, p in zip(found.tolist(), logits.softmax(1).numpy(), strict=True):
        if decode == "expectation":
            expected = p @ (lower + upper) / 2
        elif decode == "argmax":
            expected = (lower + upper)[p.argmax()] / 2
        else:
            k = int(np.searchsorted(np.cumsum(p), 0.5))
            expected = lower[k] + (upper - lower)[k] * (0.5 - np.cumsum(p)[k] + p[k]) / p[k]
        assert math.log(value) == pytest.approx(expected, abs=1e-5)


class TestLosses:
    """The loss of the number is a distance of logarithms, in steps of the scale."""

    step = math.log(1000) / (LOG.num_ranks - 1)

    @pytest.mark.parametrize("kind", [NumCLIP, L1Regression, CLIPEBC])
    def test_the_absolute_error(self, kind: Any) -> None:
        torch.manual_seed(0)
        method = kind(**TINY).eval()
        batch = batch_of(method)
        with torch.no_grad():
            output = method(batch["image"])
            found = method.losses(output, batch)["value"].item()
        errors = [abs(math.log(v) - math.log(y)) for v, y in zip(output.value.tolist(), TARGETS, strict=True)]
        assert found == pytest.approx(sum(errors) / len(errors) / self.step, rel=1e-4)

    def test_the_squared_error_of_the_share(self) -> None:
        method = AntonymScale(**{**TINY, "num_context": 4}).eval()
        batch = batch_of(method)
        with torch.no_grad():
            output = method(batch["image"])
        shares = [math.log(value / 10) / math.log(1000) for value in output.value.tolist()]
        assert output.extras["share"].tolist() == pytest.approx(shares, abs=1e-5)
        true = [math.log(y / 10) / math.log(1000) for y in TARGETS]
        expected = sum((s - t) ** 2 for s, t in zip(shares, true, strict=True)) / len(true)
        assert method.losses(output, batch)["squared"].item() == pytest.approx(expected, rel=1e-4)

    def test_the_crps_is_that_of_logarithms(self) -> None:
        method = CRPSClassifier(**TINY).eval()
        batch = batch_of(method)
        logits = torch.randn(len(TARGETS), LOG.num_ranks, generator=torch.Generator().manual_seed(2))
        found = method.losses(method.class_output(logits), batch)["distance"].item()
        # E|X - y| - E|X - X'| / 2 (Gneiting and Raftery 2007, equation 21); on the values this holds for targets there.
        x = np.log(LOG.values.double().numpy())
        scores = []
        for p, y in zip(logits.double().softmax(1).numpy(), np.log(TARGETS), strict=True):
            grid = np.linspace(x[0], x[-1], 200_001)
            reached = np.cumsum(p)[np.searchsorted(x, grid, side="right") - 1]
            scores.append(np.mean((reached - (grid >= y)) ** 2) * (x[-1] - x[0]))
        assert found * self.step == pytest.approx(np.mean(scores), rel=1e-3)

    def test_soft_labels_fall_with_the_distance_in_steps(self) -> None:
        method = SORD(**TINY)
        rank = int(LOG.to_rank(300.0))
        labels = method.labels[rank]
        at = int(LOG.to_rank(300 * 1.2**3)) - rank
        assert at == 3
        assert (labels[rank] / labels[rank + 3]).item() == pytest.approx(math.exp(3), rel=1e-4)

    def test_partners_of_mixed_images_are_near_in_logarithms(self) -> None:
        batch = {"image": torch.zeros(4, 3, 8, 8), "target": torch.tensor([10.0, 12.0, 5000.0, 6000.0]),
                 "level": torch.zeros(4).long(), "rank": torch.zeros(4).long()}  # fmt: skip
        spec = MixSpec(prob=1.0, width=0.1)
        mixed = mix_batch(batch, spec, 0, 0, places=batch["target"].log())
        assert mixed["target_b"].tolist() == [12, 10, 6000, 5000]


RATES = {"image_encoder": 3e-3, "adapter": 0, "context": 0, "phrases": 0, "head": 3e-2}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (NumCLIP, {"lr_scheduler": None, "learning_rates": RATES, "adapter_reduction": None}),
        (NumCLIPPlus, {"lr_scheduler": None, "learning_rates": RATES, "spread": 2.0, "mirror": False}),
        (CORAL, {"lr_scheduler": None, "learning_rates": RATES}),
        (RankAxis, {"axis": "extremes"}),
    ],
)
def test_it_learns(kind: Any, arguments: dict[str, Any]) -> None:
    torch.manual_seed(0)
    method = kind(**TINY, **arguments)
    images, shown = loader(shades(TARGETS * 4), 8), torch.stack([one["image"] for one in shades(TARGETS)])

    def error() -> float:
        with torch.no_grad():
            return float((method.eval()(shown).value.log() - torch.tensor(TARGETS).log()).abs().mean())

    before = error()
    quiet_trainer(max_epochs=15).fit(method, images, images)
    assert error() < before / 1.5


def test_training_images_are_counted_by_their_values(tmp_path: Path) -> None:
    targets = [10.0, 10.5, 11.9, 60.0, 9999.0, 10_000.0]
    (tmp_path / COUNTS).write_text(json.dumps(count_images(targets, LOG)), encoding="utf-8")
    counts = read_counts(tmp_path)
    assert counts is not None
    ranks = LOG.to_rank(torch.tensor(targets, dtype=torch.float64)).tolist()
    assert counts.images_at(np.array(targets)).tolist() == [ranks.count(rank) for rank in ranks]

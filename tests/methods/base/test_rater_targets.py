"""Votes as targets of the methods: what the losses see, what is refused, and that training reaches them."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError, ScaleError
from numclip_lightning.methods.base import MixSpec
from numclip_lightning.methods.base.mixing import mix_batch, of_partner
from numclip_lightning.methods.base.raters import rater_distribution
from numclip_lightning.methods.base.types import Output
from numclip_lightning.methods.coral import CORAL
from numclip_lightning.methods.cosine import CosineClassifier
from numclip_lightning.methods.crps import CRPSClassifier
from numclip_lightning.methods.numclip_plus import NumCLIPPlus
from numclip_lightning.methods.sord import SORD
from support.command import Numclip, config_of, metrics_of
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import SCALE, TINY, TRAINED, batch_of, loader, quiet_trainer

register_tiny_clips()
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

READERS = [kind for kind in TRAINED if kind.reads_raters]
VOTES = {
    "votes": torch.tensor([[0.25, 0.75], [1.0, 0.0], [torch.nan, torch.nan]]),
    "scores": torch.tensor([[1.0, 5.0], [2.5, 2.5], [0.0, 0.0]]),
}


def voted(method: Any) -> dict[str, Tensor]:
    """Three images: votes apart, votes between two values, and none."""
    batch = {name: tensor for name, tensor in batch_of(method, [4.0, 2.5, 6.0]).items() if name != "distribution"}
    return method.on_before_batch_transfer({**batch, **VOTES}, 0)  # type: ignore[no-any-return]


def losses(method: Any, batch: dict[str, Tensor]) -> dict[str, float]:
    method.eval()
    with torch.no_grad():
        return {name: float(part) for name, part in method.losses(method(batch["image"]), batch).items()}


def test_votes_then_spread_then_the_target() -> None:
    batch = {"target": torch.tensor([4.0, 2.5, 6.0]), **VOTES}
    found = rater_distribution(batch, SCALE)
    assert found.tolist() == [
        [0, 0.25, 0, 0, 0, 0.75, 0],
        [0, 0, 0.5, 0.5, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 1],
    ]
    wide = rater_distribution({**batch, "spread": torch.full((3,), 2.0)}, SCALE)
    assert torch.equal(wide[:2], found[:2])
    assert wide[2, 3] > 0.05, "the third image has no votes, but a spread"


def test_a_vote_outside_the_scale_is_refused() -> None:
    with pytest.raises(ScaleError, match=r"target 7 is outside the scale 0\.\.6"):
        rater_distribution(
            {"target": torch.tensor([4.0]), "votes": torch.ones(1, 1), "scores": torch.tensor([[7.0]])}, SCALE
        )


@pytest.mark.parametrize("kind", READERS, ids=lambda kind: kind.__name__)
def test_the_losses_change_with_the_votes_alone(kind: Any) -> None:
    # Some contexts need more than 16 tokens.
    options = {**TINY, "backbone": "tiny-timm"}
    plain, reads = kind(**options), kind(**options, raters="distribution")
    reads.load_state_dict(plain.state_dict())
    one = reads.on_before_batch_transfer(batch_of(plain, [4.0, 2.0, 6.0]), 0)
    assert "distribution" not in batch_of(plain, [4.0])
    assert losses(reads, one) == pytest.approx(losses(plain, one), abs=1e-5), "one number is one vote"
    assert losses(reads, voted(reads)) != pytest.approx(losses(plain, voted(plain)), abs=1e-4)


def test_at_least_the_losses_of_distributions_read_votes() -> None:
    assert {SORD, CRPSClassifier, NumCLIPPlus, CosineClassifier} <= set(READERS)


@pytest.mark.parametrize("kind", [SORD, NumCLIPPlus])
def test_soft_labels_are_the_mean_over_the_votes(kind: Any) -> None:
    """Against one image for each vote."""
    method = kind(**TINY, raters="distribution")
    batch = voted(method)
    part = losses(method, {name: tensor[:1] for name, tensor in batch.items()})["soft_labels"]
    each = {}
    for score in (1.0, 5.0):
        single = {**{name: tensor[:1] for name, tensor in batch.items()}, "target": torch.tensor([score])}
        del single["votes"], single["scores"]
        each[score] = losses(method, method.on_before_batch_transfer(single, 0))["soft_labels"]
    assert part == pytest.approx(0.25 * each[1.0] + 0.75 * each[5.0], abs=1e-5)


def test_classes_that_are_levels_get_the_votes_of_their_values() -> None:
    method = CosineClassifier(**TINY, raters="distribution", classes="levels")
    batch = voted(method)
    wanted = method.wanted(batch, torch.zeros(1))
    # 1 is hardly any, 5 and 6 are many; 2 and 3 are hardly any.
    assert wanted.tolist() == [[pytest.approx(0.25), pytest.approx(0.75)], [pytest.approx(1), 0], [0, 1]]


def test_partners_of_mixed_images_bring_their_votes() -> None:
    batch = voted(SORD(**TINY, raters="distribution"))
    mixed = mix_batch(batch, MixSpec(kind="mixup", prob=1), epoch=0, batch_idx=1)
    for row, target in zip(of_partner(mixed)["distribution"], mixed["target_b"].tolist(), strict=True):
        assert torch.equal(row, batch["distribution"][batch["target"].tolist().index(target)])


def test_what_has_no_votes_is_refused() -> None:
    with pytest.raises(ConfigError, match="the losses of CORAL take one number for each image"):
        CORAL(**TINY, raters="distribution")
    with pytest.raises(ConfigError, match="raters"):
        SORD(**TINY, raters="median")  # type: ignore[arg-type]
    method = SORD(**TINY, raters="distribution", lr_scheduler=None)
    samples = [{"image": torch.zeros(3, 32, 32), "target": torch.tensor(2.0), "index": torch.tensor(0)}]
    with pytest.raises(ConfigError, match="the training list has neither votes nor the spread of each target"):
        quiet_trainer(max_epochs=1).fit(method, loader(samples))


def test_the_least_loss_is_the_distribution_of_the_votes() -> None:
    """With votes for both ends, SORD with sharp labels and the CRPS end at the shares of the votes."""
    kinds: list[tuple[Any, dict[str, Any]]] = [(SORD, {"temperature": 0.05}), (CRPSClassifier, {})]
    for kind, options in kinds:
        method = kind(**TINY, **options, raters="distribution")
        batch = {"distribution": torch.tensor([[0.3, 0, 0, 0, 0, 0, 0.7]]), "target": torch.tensor([4.2])}
        logits = torch.zeros(1, 7, requires_grad=True)
        optimizer = torch.optim.Adam([logits], lr=0.1)
        for _ in range(200):
            optimizer.zero_grad()
            (loss,) = method.losses(Output(logits, batch["target"]), batch).values()
            loss.backward()
            optimizer.step()
        found = logits.softmax(dim=1)[0].tolist()
        assert (found[0], found[6]) == (pytest.approx(0.3, abs=0.03), pytest.approx(0.7, abs=0.03)), kind.__name__


def test_a_fit_on_votes_from_a_list(numclip: Numclip, tmp_path: Path) -> None:
    for split, count in (("train", 12), ("val", 6)):
        lines = ["path,c10,c14,c19", *(f"{split}_{i:03d}.png,{i % 3},1,{(i + 1) % 4}" for i in range(count))]
        (tmp_path / f"{split}.csv").write_text("\n".join(lines), encoding="utf-8")
    words = (
        "--model=CRPSClassifier", "--model.raters=distribution", "--data.vote_columns={c10: 10, c14: 14, c19: 19}",
        f"--data.train_file={tmp_path / 'train.csv'}", f"--data.val_file={tmp_path / 'val.csv'}",
        "--data.test_file=null",
    )  # fmt: skip
    run = numclip("fit", *words, "--trainer.max_epochs=1")
    assert config_of(run)["model"]["init_args"]["raters"] == "distribution"
    assert math.isfinite(metrics_of(run)["val_mae"])

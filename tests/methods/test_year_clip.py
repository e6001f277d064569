"""YearCLIP: a bank of reasons beside the levels, standardised, and what fired."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base import LearningRates
from numclip_lightning.methods.year_clip import YearCLIP
from numclip_lightning.models.learned_heads import BoundedHead
from numclip_lightning.runs.features import KeepFeatures
from support.tiny_fit import TINY
from support.tiny_patches import TARGETS, Patches, features, fitted

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

REASONS = ["a red roof", "a flat roof", "thick walls"]


def test_reasons_are_standardised_similarities_of_clips_own_feature() -> None:
    method, data = YearCLIP(**TINY, reasons=REASONS), Patches(TARGETS)
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    fitted(method, data)
    x = features(method, data)
    with torch.no_grad():
        words = F.normalize(method.clip.encode_text(REASONS).double(), dim=1)
        output = method.eval().decode_features(x.float())
    near = x @ words.T
    expected = (near - near.mean(dim=0)) / near.std(dim=0, correction=0)
    torch.testing.assert_close(output.extras["more"].double(), expected, atol=1e-2, rtol=1e-3)
    assert output.extras["reason"].tolist() == expected.argmax(dim=1).tolist()
    best, far = method.explain(output, most=2)[5][0]
    assert best == REASONS[int(expected[5].argmax())]
    assert far == pytest.approx(expected[5].max().item(), abs=1e-2)
    moved = {name for name, tensor in method.state_dict().items() if not torch.equal(tensor, before[name])}
    learned = ("adapter", "fine_head", "reason_mean", "reason_deviation")
    assert {name for name in moved if "metrics" not in name and not name.startswith(learned)} == set()
    assert {name.partition(".")[0] for name in moved} >= set(learned)


def test_the_number_changes_with_the_reasons_and_stays_on_the_scale() -> None:
    head = BoundedHead(lower=[0.0, 4.0], upper=[3.0, 6.0], centers=[1.5, 5.0], num_more=3)
    torch.nn.init.normal_(head.hidden.weight)
    torch.nn.init.normal_(head.shift.weight)
    logits = torch.zeros(64, 2)
    values = head(logits, torch.randn(64, 3) * 5)
    assert values.std() > 0.1
    assert ((values >= 0) & (values <= 6)).all()
    with torch.no_grad():
        head.hidden.weight[:, 2:] = 0
        torch.testing.assert_close(head(logits, torch.randn(64, 3)), head(logits, torch.zeros(64, 3)))


@pytest.mark.slow
def test_a_tiny_set_is_learned_although_the_tower_is_frozen() -> None:
    rates = LearningRates(image_encoder=0, adapter=3e-2, context=0, phrases=0, head=3e-2)
    method = YearCLIP(**TINY, learning_rates=rates, lr_scheduler=None)
    data = Patches(TARGETS, batch_size=21)
    found = fitted(method, data, max_epochs=60, check_val_every_n_epoch=60, callbacks=[KeepFeatures()])
    assert found["val_mae"] < 0.3


def test_a_single_image_has_no_deviation_and_finite_reasons() -> None:
    method = YearCLIP(**TINY)
    metrics = fitted(method, Patches([3.0]))
    assert method.num_more == 24
    assert method.reason_deviation.min() > 0
    assert metrics["val_loss"] == metrics["val_loss"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reasons": []}, "give a list of different sentences"),
        ({"reasons": ["a", "a"]}, "give a list of different sentences"),
        ({"learning_rates": LearningRates(image_encoder=1e-4)}, "image_encoder is 0.0001, but YearCLIP's reasons"),
        ({"reasons": ["word " * 30]}, "shorten it"),
    ],
)
def test_what_contradicts_itself_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        YearCLIP(**{**TINY, **arguments})

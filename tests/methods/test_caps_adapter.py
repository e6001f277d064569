"""CapS-Adapter: a cache keyed by captions too."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from numclip_lightning.data.base.labels import LabelTable
from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.caps_adapter import CapSAdapter
from numclip_lightning.methods.tip_adapter import TipAdapter
from support.tiny_fit import TINY
from support.tiny_patches import TARGETS, Patches, features, fitted

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

ONE: dict[str, Any] = {"alphas": [1.5], "betas": [3.0]}


class Captioned(Patches):
    """Every training image has a caption, or the one that is named."""

    caption = ""

    def labels(self, split: Any) -> LabelTable:
        table = super().labels(split)
        return LabelTable(
            replace(label, attributes=(("caption", self.caption or f"spots of kind {label.line}"), ("site", "x")))
            for label in table
        )


def test_the_affinity_is_that_of_image_and_caption_together() -> None:
    method, data = CapSAdapter(**TINY, **ONE, deltas=[0.25], caption="{caption}"), Captioned(TARGETS)
    fitted(method, data)
    keys = features(method, data)
    new = F.normalize(torch.randn(4, 24, dtype=torch.float64), dim=1)
    with torch.no_grad():
        texts = [f"spots of kind {n + 1}" for n in range(len(TARGETS))]
        words = F.normalize(method.clip.encode_text(texts).double(), dim=1)
        expected = method.eval().compare(new.float()).double()
        for i in range(4):
            for n, target in enumerate(TARGETS):
                affinity = 0.75 * float(new[i] @ keys[n]) + 0.25 * float(new[i] @ words[n])
                expected[i, int(target)] += 1.5 * math.exp(-3.0 * (1 - affinity))
        np.testing.assert_allclose(method.decode_features(new.float()).logits, expected, atol=1e-4)


def test_delta_0_is_tip_adapter() -> None:
    torch.manual_seed(0)
    ours = CapSAdapter(**TINY, **ONE, deltas=[0.0])
    torch.manual_seed(0)
    theirs = TipAdapter(**TINY, **ONE)
    for method in (ours, theirs):
        fitted(method, Patches(TARGETS))
    with torch.no_grad():
        x = torch.randn(3, 3, 32, 32)
        torch.testing.assert_close(ours.eval()(x).logits, theirs.eval()(x).logits)


def test_captions_that_are_the_classes_prompts_know_the_class_alone() -> None:
    method = CapSAdapter(**TINY, **ONE, deltas=[1.0])
    fitted(method, Patches(TARGETS))
    keys = method.cache.caption_keys
    prototypes = method.eval().prototypes()
    torch.testing.assert_close(keys, prototypes[torch.tensor(TARGETS).long()], atol=1e-5, rtol=1e-4)


def test_delta_is_chosen_on_validation_and_kept_in_the_checkpoint() -> None:
    method, data = CapSAdapter(**TINY, caption="{caption} {phrase} {number}"), Captioned(TARGETS)
    metrics = fitted(method, data)
    again = CapSAdapter(**TINY)
    again.load_state_dict(method.state_dict())
    assert metrics["val_mae"] < 0.1
    assert torch.equal(again.best_delta, method.best_delta)
    with torch.no_grad():
        x = torch.randn(3, 3, 32, 32)
        torch.testing.assert_close(again.eval()(x).value, method.eval()(x).value)


def test_long_captions_are_cut_where_the_tower_ends() -> None:
    data = Captioned(TARGETS[:2])
    data.caption = "many " * 40
    method = CapSAdapter(**TINY, **ONE, deltas=[1.0], caption="{caption}")
    fitted(method, data)
    with torch.no_grad():
        expected = F.normalize(method.clip.encode_text([" ".join(["many"] * 14)]), dim=1)
    torch.testing.assert_close(method.cache.caption_keys, expected.expand(2, -1), atol=1e-5, rtol=1e-4)


def test_an_image_without_the_column_is_named() -> None:
    with pytest.raises(ConfigError, match=r"made:1: '0' has no 'captoin' .*did you mean 'caption'.*data.attributes"):
        fitted(CapSAdapter(**TINY, **ONE, deltas=[0.5], caption="{captoin}"), Captioned(TARGETS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"deltas": [0.5, 2]}, "deltas has 2"), ({"caption": "a {"}, "close every brace"), ({"caption": "{}"}, "nothing")],
)
def test_what_contradicts_itself_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CapSAdapter(**TINY, **arguments)

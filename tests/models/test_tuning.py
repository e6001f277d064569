"""Changes of weights beside weights at rest: exact at the start, what the formulas say, and the same when merged."""

from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
from open_clip.modified_resnet import AttentionPool2d
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError
from numclip_lightning.models import CLIPBackbone, load_clip
from numclip_lightning.models.layers import image_layers
from numclip_lightning.models.tuning import (
    LowRank,
    SingularValues,
    is_tuned,
    last_blocks,
    merged,
    plain_name,
    reparametrise,
    tower_layers,
    with_cache,
)
from support.tiny_clip import register_tiny_clips

register_tiny_clips()
TOWERS = ["tiny-vit", "tiny-resnet", "tiny-timm"]

NO_PEFT = "PEFT is not installed (pip install -e '.[peft]'); it would slow down every start"


def low_rank(weight: Tensor, _: int) -> LowRank:
    return LowRank(weight, rank=3, alpha=6.0)


@cache
def built(name: str) -> CLIPBackbone:
    torch.manual_seed(0)
    return load_clip(name, None)


def tower_of(name: str) -> nn.Module:
    return deepcopy(built(name).visual).eval()


def blocks_of(tower: nn.Module) -> list[str]:
    return [name for layer in tower_layers(tower)[1:-1] for name in layer]


@torch.no_grad()
def move(tower: nn.Module) -> None:
    """Move what is trained as a fit might."""
    for name, parameter in tower.named_parameters():
        if name.endswith((".delta", ".a", ".b")):
            parameter.add_(0.05 * torch.randn_like(parameter))


class TestFormulas:
    @pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 3, 3, 3)])
    def test_a_singular_value_moves_the_weight_by_a_matrix_of_rank_one(self, shape: tuple[int, ...]) -> None:
        weight = torch.randn(shape, dtype=torch.float64)
        change = SingularValues(weight)
        assert torch.equal(change(weight), weight)
        assert change.delta.numel() == min(shape[0], weight[0].numel())
        with torch.no_grad():
            change.delta[0, 1] = 0.25
        moved = (change(weight) - weight).flatten(1)
        assert torch.linalg.matrix_rank(moved, tol=1e-10) == 1
        assert moved.norm().item() == pytest.approx(0.25, abs=1e-12)
        before = torch.linalg.svdvals(weight.flatten(1))
        expected = before.clone()
        expected[1] += 0.25
        torch.testing.assert_close(torch.linalg.svdvals(change(weight).flatten(1)), expected.sort(descending=True)[0])

    def test_query_key_and_value_have_singular_values_of_their_own(self) -> None:
        weight = torch.randn(12, 4, dtype=torch.float64)
        change = SingularValues(weight, blocks=3)
        with torch.no_grad():
            change.delta.normal_()
        expected = []
        for number, part in enumerate(torch.split(weight, 4)):
            u, s, v = torch.linalg.svd(part)
            expected.append(u @ torch.diag(s + change.delta[number]) @ v)
        torch.testing.assert_close(change(weight), torch.cat(expected))

    def test_low_rank_is_peft_s_on_linear_layers(self) -> None:
        peft = pytest.importorskip("peft", reason=NO_PEFT)
        torch.manual_seed(0)
        ours = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))
        theirs = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))
        theirs.load_state_dict(ours.state_dict())
        peft.inject_adapter_in_model(peft.LoraConfig(r=3, lora_alpha=6, target_modules=["0", "2"]), theirs)
        assert reparametrise(ours, ["0.weight", "2.weight"], low_rank) == 2
        own, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
        with torch.no_grad():
            for layer in "02":
                for key, name in (("a", "A"), ("b", "B")):
                    value = other[f"{layer}.lora_{name}.default.weight"].normal_()
                    own[f"{layer}.parametrizations.weight.0.{key}"].copy_(value)
        x = torch.randn(4, 7)
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=1e-6)

    def test_why_peft_does_not_wrap_the_attention(self) -> None:
        peft = pytest.importorskip("peft", reason=NO_PEFT)
        # It adds the change before each forward pass and takes it away again: weights at rest are rounded each time.
        torch.manual_seed(0)
        theirs = nn.Sequential(nn.MultiheadAttention(8, 2, batch_first=True))
        peft.inject_adapter_in_model(peft.LoraConfig(r=3, lora_alpha=6, target_modules=["0"]), theirs)
        attention: Any = theirs[0]
        with torch.no_grad():
            attention.lora_B["default"].weight.normal_()
        before, same = attention.in_proj_weight.detach().clone(), attention.base_layer.in_proj_weight
        x = torch.randn(2, 3, 8)
        for _ in range(10):
            attention(x, x, x)
        assert not torch.equal(attention.in_proj_weight, before)
        assert attention.base_layer.in_proj_weight is not same
        # The pooling of a ResNet takes the weights of its layers too, and PEFT's layers show those at rest.
        pool = AttentionPool2d(2, 8, 2, 4)
        peft.inject_adapter_in_model(
            peft.LoraConfig(r=3, target_modules=["q_proj", "k_proj", "v_proj", "c_proj"]), pool
        )
        assert any(parameter.requires_grad for parameter in pool.parameters())
        assert not pool(torch.randn(2, 8, 2, 2)).requires_grad


@pytest.mark.parametrize("name", TOWERS)
@pytest.mark.parametrize("change", [SingularValues, low_rank])
class TestTowers:
    def test_the_start_is_the_tower_and_merged_weights_give_the_same_features(self, name: str, change: type) -> None:
        tower, plain = tower_of(name), tower_of(name)
        images = torch.randn(3, 3, 32, 32)
        # With gradients: without them, PyTorch takes another kernel where weights are no parameters.
        before = plain.train()(images)
        assert reparametrise(tower, blocks_of(tower), change) > 3
        assert torch.equal(tower.train()(images), before)
        start = merged(tower.state_dict())
        assert all(torch.equal(value, start[key]) for key, value in tower_of(name).state_dict().items()
                   if "running" not in key and "tracked" not in key)  # fmt: skip
        move(tower)
        for module in (tower.eval(), plain.eval()):
            assert module(images).shape == before.shape
        plain.load_state_dict(merged(tower.state_dict()))
        assert not torch.allclose(tower(images), before, atol=1e-3)
        torch.testing.assert_close(plain(images), tower(images), atol=1e-5, rtol=1e-5)

    def test_only_matrices_in_the_blocks_have_a_change_and_weights_at_rest_stay(self, name: str, change: type) -> None:
        tower = tower_of(name)
        known = {key: value.clone() for key, value in tower.named_parameters()}
        layers = image_layers(tower)
        reparametrise(tower, blocks_of(tower), change)
        at_rest = {plain_name(key): value for key, value in tower.named_parameters() if key.endswith(".original")}
        assert not at_rest.keys() & {*layers["stem"], *layers["top"]}
        assert {key for key, value in known.items() if value.dim() > 1} - {*layers["stem"], *layers["top"]} == {
            *at_rest
        }
        for parameter in tower.parameters():
            parameter.grad = None
        tower.train()(torch.randn(2, 3, 32, 32)).square().sum().backward()
        trained = {key: value for key, value in tower.named_parameters() if key.endswith((".delta", ".a", ".b"))}
        assert all(value.grad is not None for value in trained.values())
        assert all(torch.equal(value, known[key]) for key, value in at_rest.items())
        if change is SingularValues:
            packed = {key: 3 if key.endswith("in_proj_weight") else 1 for key in at_rest}
            expected = sum(
                blocks * min(len(known[key]) // blocks, known[key][0].numel()) for key, blocks in packed.items()
            )
            assert sum(value.numel() for value in trained.values()) == expected


def test_a_plain_state_stays_as_it_is() -> None:
    state = tower_of("tiny-vit").state_dict()
    assert not is_tuned(state)
    assert merged(state).keys() == state.keys()


def test_the_text_tower_is_tuned_too() -> None:
    clip = deepcopy(built("tiny-vit")).train()
    before = clip.encode_text(["a few things"])
    assert reparametrise(clip.text, blocks_of(clip.text), SingularValues) == 8
    assert torch.equal(clip.encode_text(["a few things"]), before)
    move(clip.text)
    after = clip.encode_text(["a few things"])
    assert not torch.allclose(after, before, atol=1e-3)
    with with_cache():
        assert torch.equal(clip.encode_text(["a few things"]), after)
    plain = deepcopy(built("tiny-vit")).train()
    plain.load_state_dict(merged(clip.state_dict()))
    torch.testing.assert_close(plain.encode_text(["a few things"]), after, atol=1e-5, rtol=1e-5)


def test_the_last_blocks_are_counted_from_the_top() -> None:
    tower = tower_of("tiny-vit")
    layers = tower_layers(tower)
    found = last_blocks(layers, 1)
    assert set(found) == {name for name, _ in tower.named_parameters()
                          if name.startswith(("transformer.resblocks.1.", "ln_post", "proj"))}  # fmt: skip
    assert {*last_blocks(layers, 2)} - {*found} == {*layers[1]}


def test_towers_without_matrices_are_refused() -> None:
    with pytest.raises(ConfigError, match="the blocks of LayerNorm have no matrices to tune; set tune=full"):
        reparametrise(nn.LayerNorm(3), ["weight"], SingularValues)

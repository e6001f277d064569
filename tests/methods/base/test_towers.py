"""Fewer patches in training, a leash to the frozen tower, a temperature that falls, and second derivatives."""

import logging
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytorch_optimizer import SophiaH
from torch import Tensor, nn

from numclip_lightning.data.counting import CountingDataModule
from numclip_lightning.errors import BackboneError, ConfigError
from numclip_lightning.losses import soft_labels
from numclip_lightning.methods import L2RCLIP, SORD, CLIPEBCBlocks, CoOp, CosineClassifier
from numclip_lightning.methods.base import Falling, LearningRates, OptimizerSpec, OrdinalMethod, PatchDropSpec
from numclip_lightning.methods.base.second_order import backward_twice
from numclip_lightning.models.frozen_twin import FrozenTwin, class_attention
from numclip_lightning.models.patch_choice import PatchChoice, choose_patches
from numclip_lightning.runs.checks import CheckData
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import TARGETS, TINY, batch_of, images_of, loader, quiet_trainer

register_tiny_clips()
RATES = LearningRates(image_encoder=1e-2, head=1e-1)


def classifier(**arguments: Any) -> CosineClassifier:
    torch.manual_seed(0)
    return CosineClassifier(**{**TINY, "learning_rates": RATES, "lr_scheduler": None, **arguments})


def fit(method: OrdinalMethod, **arguments: Any) -> None:
    trainer = quiet_trainer(num_sanity_val_steps=0, limit_val_batches=0, **{"max_epochs": 2, **arguments})
    images = loader(images_of(method, TARGETS * 2))
    trainer.fit(method, images, images)


class TestPatches:
    def test_of_all_some_are_kept_in_their_order_and_the_class_token_always(self) -> None:
        x = torch.arange(2 * 17 * 3.0).view(2, 17, 3)
        for drop, left in ((0.5, 8), (0.75, 4), (0.99, 1)):
            kept = PatchChoice(drop).train()(x)
            assert kept.shape == (2, 1 + left, 3)
            assert torch.equal(kept[:, 0], x[:, 0])
            assert all(torch.equal(row[:, 0], row[:, 0].sort().values) for row in kept)
        choice = PatchChoice(0.5)
        choice.active = False
        assert choice(x) is x
        assert PatchChoice(0.5).eval()(x) is x

    def test_the_best_scores_are_kept(self) -> None:
        scores = torch.tensor([[0.1, 0.4, 0.2, 0.3]])
        x = torch.arange(5.0).view(1, 5, 1)
        assert PatchChoice(0.5, score=lambda: scores)(x).flatten().tolist() == [0, 2, 4]

    def test_a_tower_without_dropped_patches_is_the_tower(self) -> None:
        visual = classifier().clip.visual
        images = torch.randn(3, 3, 32, 32)
        before = visual.eval()(images)
        choose_patches(visual, 0.5)
        assert torch.equal(visual(images), before)
        visual.train()
        assert not torch.equal(visual(images), before)
        # Attention is a set: all patches in another order give the same class token.
        blocks = visual.transformer.resblocks
        x = visual.eval()._embeds(images)
        order = torch.tensor([0, 3, 1, 4, 2])
        mixed = blocks[1](blocks[0](x[:, order]))[:, 0]
        torch.testing.assert_close(mixed, blocks[1](blocks[0](x))[:, 0], atol=1e-5, rtol=1e-5)

    def test_attention_of_the_class_token_is_that_of_torch(self) -> None:
        visual = classifier().clip.visual.eval()
        images = torch.randn(3, 3, 32, 32)
        block = visual.transformer.resblocks[1]
        x = block.ln_1(visual.transformer.resblocks[0](visual._embeds(images)))
        _, maps = block.attn(x, x, x, need_weights=True)
        torch.testing.assert_close(class_attention(visual, images), maps[:, 0, 1:], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(FrozenTwin(visual).attention(images), maps[:, 0, 1:], atol=1e-6, rtol=1e-5)

    @pytest.mark.parametrize("by", ["random", "attention"])
    def test_a_fit_sees_fewer_until_the_epoch_that_is_asked_for(self, by: Any) -> None:
        method = classifier(patch_dropout=PatchDropSpec(0.5, by, until=1))
        lengths: list[int] = []
        method.clip.visual.transformer.register_forward_pre_hook(lambda _, x: lengths.append(x[0].shape[1]))
        fit(method, max_epochs=8)
        # A twin that looks at the images runs blocks and not the transformer.
        assert lengths == [3, 3, *[5] * 14]
        assert not any("twin" in name for name in method.state_dict())

    @pytest.mark.parametrize(("until", "said"), [(2, 1), (1, 0)])
    def test_an_epoch_that_never_comes_is_said(self, until: int, said: int, caplog: pytest.LogCaptureFixture) -> None:
        fit(classifier(patch_dropout=PatchDropSpec(0.5, until=until)), max_epochs=2)
        found = [r.getMessage() for r in caplog.records if "never sees whole images" in r.getMessage()]
        assert len(found) == said
        assert all("patch_dropout.until is 2, and the training has 2 epochs" in message for message in found)

    def test_what_is_refused(self, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(ConfigError, match=r"patch_dropout.share is 1; give a share between 0 and 1"):
            PatchDropSpec(1)
        with pytest.raises(ConfigError, match=r"patch_dropout.by is 'luck'; choose one of 'random', 'attention'"):
            PatchDropSpec(by="luck")  # type: ignore[arg-type]
        frozen = LearningRates(image_encoder=0, head=1e-2)
        for argument in ({"patch_dropout": PatchDropSpec()}, {"leash": 1.0}):
            with pytest.raises(ConfigError, match="is for an image tower that is trained, and it is frozen"):
                classifier(learning_rates=frozen, **argument)
            with pytest.raises(ConfigError, match="of whole images, and CLIPEBCBlocks reads their places"):
                CLIPEBCBlocks(**TINY, **argument)
        with pytest.raises(BackboneError, match="ModifiedResNet has no patches that can be left out"):
            classifier(backbone="tiny-resnet", patch_dropout=PatchDropSpec()).setup("fit")
        with pytest.raises(BackboneError, match="has no class token whose attention can be read"):
            class_attention(classifier(backbone="tiny-resnet").clip.visual, torch.zeros(1, 3, 32, 32))
        method = classifier(patch_dropout=PatchDropSpec())
        trainer = quiet_trainer()
        trainer.datamodule = CountingDataModule(num_train=4, num_val=4, image_size=32)  # type: ignore[attr-defined]
        with pytest.raises(ConfigError, match="leaves things out of images in which CountingDataModule counts them"):
            CheckData().setup(trainer, classifier(patch_dropout=PatchDropSpec(), scale=COUNTS), "fit")
        CountingDataModule.counts = False
        try:
            CheckData().setup(trainer, classifier(patch_dropout=PatchDropSpec(), scale=COUNTS), "fit")
        finally:
            CountingDataModule.counts = True
        assert "counts, areas and small defects are lost with it" in caplog.records[-1].getMessage()
        assert method.patch_dropout is not None


COUNTS = {"minimum": 1, "maximum": 60, "levels": [{"phrase": "few", "start": 1}, {"phrase": "many", "start": 9}]}


class TestLeash:
    def test_it_is_0_at_the_start_and_the_mean_distance_afterwards(self) -> None:
        method = classifier(leash=3.0)
        batch = batch_of(method, TARGETS)
        start = F.normalize(method.encode_images(batch["image"]), dim=-1)
        method.setup("fit")
        output = method.train()._output(batch)
        parts = method._joined_losses(output, batch)
        assert parts["leash"].item() == pytest.approx(0, abs=1e-6)
        with torch.no_grad():
            for parameter in method.clip.visual.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        parts = method._joined_losses(method._output(batch), batch)
        end = F.normalize(method.encode_images(batch["image"]), dim=-1)
        expected = 3 * sum(1 - float((a @ b).detach()) for a, b in zip(start, end, strict=True)) / len(TARGETS)
        assert parts["leash"].item() == pytest.approx(expected, rel=1e-4)
        method._seen.clear()
        assert "leash" not in method.eval()._joined_losses(method._output(batch), batch)

    def test_it_is_0_at_the_start_in_the_precision_of_the_step(self) -> None:
        """Else its noise would pull, and the copy would be computed in full precision."""
        method = classifier(leash=1e6)
        method.setup("fit")
        batch = batch_of(method, TARGETS)
        with torch.autocast("cpu", torch.bfloat16):
            parts = method.train()._joined_losses(method._output(batch), batch)
        assert parts["leash"].item() == pytest.approx(0, abs=0.5)

    def test_its_gradient_is_the_finite_difference(self) -> None:
        method = classifier(leash=1.0).double()
        batch = {key: value.double() if key == "image" else value for key, value in batch_of(method, TARGETS).items()}
        method.setup("fit")
        method.train()
        weight = method.clip.visual.proj
        with torch.no_grad():
            weight.add_(0.1 * torch.randn_like(weight))

        def distance() -> Tensor:
            method._output(batch)
            found: Tensor = method._distance()
            return found

        torch.autograd.backward(distance())
        with torch.no_grad():
            weight[0, 0] += 1e-5
            with torch.enable_grad():
                above = distance().item()
            weight[0, 0] -= 2e-5
            with torch.enable_grad():
                below = distance().item()
        assert weight.grad is not None
        assert (above - below) / 2e-5 == pytest.approx(weight.grad[0, 0].item(), rel=1e-4)

    def test_a_tower_that_rests_goes_nowhere(self) -> None:
        """L2RCLIP learns its prompts first, and encodes images without a graph meanwhile."""
        method = L2RCLIP(**TINY, num_context=4, leash=5.0, learning_rates=RATES, lr_scheduler=None)
        method.setup("fit")
        batch = batch_of(method, TARGETS)
        losses = []
        for phase in ("prompts", "images"):
            method._phase = phase
            method.train()
            losses.append(method._joined_losses(method._output(batch), batch)["leash"].item())
            with torch.no_grad():
                for parameter in method.clip.visual.parameters():
                    parameter.add_(0.05 * torch.randn_like(parameter))
        assert losses[0] == 0
        assert losses[1] > 0

    def test_a_method_that_is_fitted_again_is_held_by_one_leash(self, monkeypatch: pytest.MonkeyPatch) -> None:
        method, seen = classifier(leash=2.0), list[int]()
        distance = method._distance

        def look() -> Tensor:
            seen.append(len(method._seen))
            found: Tensor = distance()
            return found

        monkeypatch.setattr(method, "_distance", look)
        for _ in range(2):
            fit(method, max_epochs=1)
        assert seen == [1] * 4
        method.train()._output(batch_of(method, TARGETS))
        assert method._seen == [], "after a fit nothing is kept for it"

    def test_a_strong_one_keeps_the_tower(self) -> None:
        moved = {}
        for leash in (0.0, 1000.0):
            method = classifier(leash=leash)
            images = torch.stack([one["image"] for one in images_of(method, TARGETS)])
            before = F.normalize(method.encode_images(images), dim=-1)
            fit(method, max_epochs=8)
            with torch.no_grad():
                moved[leash] = 1 - (F.normalize(method.eval().encode_images(images), dim=-1) * before).sum(-1).mean()
        assert moved[1000.0] < moved[0.0] / 4


class TestFallingTemperature:
    def test_labels_soften_as_the_epoch_says(self) -> None:
        seen: list[Tensor] = []

        class Watched(SORD):  # type: ignore[misc]
            def on_train_epoch_end(self) -> None:
                seen.append(self.labels.clone())

        method = Watched(**TINY, temperature=Falling(4, 1), lr_scheduler=None)
        fit(method, max_epochs=3)
        assert len(seen) == 3
        for labels, temperature in zip(seen, (4, 2, 1), strict=True):
            torch.testing.assert_close(labels, soft_labels(7, "absolute", temperature))

    def test_equal_ends_are_sord_and_a_cold_end_is_cross_entropy(self) -> None:
        torch.manual_seed(0)
        plain, equal = (SORD(**TINY, temperature=t) for t in (0.7, {"start": 0.7, "end": 0.7}))
        equal.load_state_dict(plain.state_dict())
        batch = batch_of(plain, TARGETS)
        losses = [
            method.losses(method.eval()(batch["image"]), batch)["soft_labels"].item() for method in (plain, equal)
        ]
        assert losses[0] == losses[1]
        cold = CoOp(**TINY, num_context=2, temperature=1e-3)
        output = cold.eval()(batch["image"])
        hard = F.cross_entropy(output.logits, batch["rank"]).item()
        assert cold.losses(output, batch)["soft_labels"].item() == pytest.approx(hard, rel=1e-5)
        # Votes that agree are the true class, over levels too.
        levels = CoOp(**TINY, num_context=2, names="phrases", temperature=1.0, raters="distribution").eval()
        output, votes = levels(batch["image"]), F.one_hot(batch["rank"], levels.scale.num_ranks).float()
        voted = levels.losses(output, {**batch, "distribution": votes})["soft_labels"]
        torch.testing.assert_close(voted, levels.losses(output, batch)["soft_labels"])
        with pytest.raises(ConfigError, match=r"temperature.end is 0; give a number greater than 0"):
            SORD(**TINY, temperature={"start": 1, "end": 0})


class TestSecondDerivatives:
    SOPHIA = OptimizerSpec("pytorch_optimizer.SophiaH", {"p": 0.01, "update_period": 1})

    def test_a_quadratic_shrinks_evenly_and_steps_are_clipped_at_rate_times_p(self) -> None:
        curvature = torch.tensor([1.0, 10.0, 1000.0])
        for p, is_even in ((1e9, True), (0.01, False)):
            weight = nn.Parameter(torch.ones(3))
            optimizer = SophiaH([weight], lr=1.0, p=p, update_period=1, hessian_distribution="rademacher")
            for _ in range(2):
                backward_twice((curvature * weight.square()).sum() / 2, [weight])
                before = weight.detach().clone()
                optimizer.step()
            step = before - weight.detach()
            if is_even:
                assert (step / before).tolist() == pytest.approx([(step / before)[0].item()] * 3, rel=1e-4)
            else:
                assert step.tolist() == pytest.approx([0.01] * 3)

    @pytest.mark.filterwarnings("ignore:Found . module.s. in eval mode")
    @pytest.mark.parametrize("tune", ["full", "svd"])
    def test_a_fit_goes_through_the_attention(self, tune: Any) -> None:
        rates = LearningRates(image_encoder=1e-1, head=10.0)
        method = classifier(optimizer=self.SOPHIA, learning_rates=rates, tune=tune)
        before = {name: value.clone() for name, value in method.named_parameters()}
        fit(method, max_epochs=3)
        moved = [name for name, value in method.named_parameters() if not torch.equal(value, before.get(name, value))]
        assert moved
        assert all(torch.isfinite(value).all() for value in method.parameters())
        if tune == "full":
            attention = "clip.visual.transformer.resblocks.0.attn.in_proj_weight"
            step = (dict(method.named_parameters())[attention] - before[attention]).abs().max().item()
            # 6 steps of at most rate times p.
            assert 0 < step <= 6 * 1e-1 * 0.01 + 1e-6

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"gradient_clip_val": 1.0}, "trainer.gradient_clip_val clips gradients"),
            ({"accumulate_grad_batches": 2}, "trainer.accumulate_grad_batches adds up gradients"),
        ],
    )
    def test_what_changes_gradients_is_refused(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=f"SophiaH estimates second derivatives .* one batch, and {message}"):
            fit(classifier(optimizer=self.SOPHIA), **arguments)


@pytest.mark.filterwarnings("ignore:Found . module.s. in eval mode")
def test_logs_name_the_weighted_part(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    method = classifier(leash=2.0, tune="svd")
    trainer = quiet_trainer(max_epochs=1, num_sanity_val_steps=0, limit_val_batches=0)
    images = loader(images_of(method, TARGETS))
    trainer.fit(method, images, images)
    assert trainer.callback_metrics["train_loss_leash"].item() == pytest.approx(0, abs=1e-5)
    assert any("tune=svd: " in record.getMessage() for record in caplog.records)

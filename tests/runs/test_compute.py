"""Other ways to compute: the same numbers, gradients and losses, or a refusal that says why."""

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, _cur_sdpa_kernel_backends

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods import AnomalyCLIP, AttentionMIL, CoOp, LinearProbe, NumCLIP, OrdinalCLIP, OrdinalMethod
from numclip_lightning.runs.compute import Compute
from support.command import Numclip, metrics_of, rows_of
from support.tiny_fit import TARGETS, TINY, TRAINED, batch_of, images_of, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

RATES = {"learning_rates": {"image_encoder": 1e-3, "context": 1e-3}}
EVEN = [0.0, 6.0, 2.0, 5.0, 1.0, 4.0, 3.0, 6.0]


def build(kind: Any = NumCLIP, **arguments: Any) -> Any:
    torch.manual_seed(0)
    # Ten random tokens are too many for the tiny tower.
    short = {name: 2 for name in ("num_context", "deep_tokens") if getattr(kind, name, None)}
    return kind(**{**TINY, **short, **arguments}).double().train()


def in_double(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: found.double() if found.is_floating_point() else found for name, found in batch.items()}


def loss_of(method: OrdinalMethod, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(method._joined_losses(method._output(batch), batch).values())).sum()


def gradients(method: OrdinalMethod, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    method.zero_grad()
    torch.autograd.backward(loss_of(method, batch))
    return {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


def prepared(method: OrdinalMethod, **options: Any) -> Compute:
    """Options as at the start of a fit, without a fit."""
    compute = Compute(**options)
    compute.on_fit_start(quiet_trainer(), method)
    return compute


def check_equal_gradients(method: Any, targets: list[float], **options: Any) -> None:
    batch = in_double(batch_of(method, targets))
    plain = gradients(method, batch)
    compute = prepared(method, **options)
    found = gradients(method, batch)
    compute.teardown(quiet_trainer(), method, "fit")
    assert plain.keys() == found.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-11, msg=name)


class TestEqual:
    @pytest.mark.parametrize("most", [1, 3, 8])
    def test_images_in_parts_have_the_gradients_of_the_whole_contrast(self, most: int) -> None:
        check_equal_gradients(build(**RATES), EVEN, images_at_once=most)

    @pytest.mark.parametrize("kind", [NumCLIP, OrdinalCLIP], ids=lambda kind: kind.__name__)
    def test_a_checkpointed_text_tower_has_the_same_gradients(self, kind: type[OrdinalMethod]) -> None:
        check_equal_gradients(
            build(kind, num_context=3, learning_rates={"text_encoder": 1e-3}), EVEN, checkpoint_text=True
        )

    def test_prompts_that_share_a_beginning_are_checkpointed_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("numclip_lightning.models.text_tower.WORTH_A_PASS", 1)
        method = build(OrdinalCLIP, num_context=3)
        assert method.prompts.prefix > 1
        kept: dict[bool, int] = {}
        for checkpoints in (False, True):
            method.clip.text.set_checkpointing(checkpoints)
            sizes: list[int] = []

            def keep(x: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
                sizes.append(x.nbytes)
                return x

            with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
                method.prototypes().sum()
            kept[checkpoints] = sum(sizes)
        assert kept[True] < kept[False] / 2
        method.clip.text.set_checkpointing(False)
        check_equal_gradients(method, EVEN, checkpoint_text=True)

    def test_attention_of_another_kernel_has_the_same_gradients(self) -> None:
        method = build(**RATES)
        check_equal_gradients(method, EVEN, attention="math")

    @pytest.mark.slow
    def test_a_compiled_tower_has_the_same_gradients(self) -> None:
        check_equal_gradients(build(**RATES), EVEN, compile=True)


class TestInAFit:
    def test_options_hold_for_the_whole_run_and_for_it_alone(self) -> None:
        seen: list[tuple[bool, list[SDPBackend], int | None, bool]] = []
        before = _cur_sdpa_kernel_backends()

        class Spy(NumCLIP):  # type: ignore[misc]
            def encode_images(self, images: torch.Tensor) -> torch.Tensor:
                clip = self.clip
                checkpoints = bool(clip.text.transformer.grad_checkpointing)
                seen.append((self.training, _cur_sdpa_kernel_backends(), clip.images_at_once, checkpoints))
                features: torch.Tensor = super().encode_images(images)
                return features

        method = Spy(**TINY)
        samples = loader(images_of(method, TARGETS))
        compute = Compute(attention="math", images_at_once=2, checkpoint_text=True)
        quiet_trainer(max_epochs=2, callbacks=[compute]).fit(method, samples, samples)
        assert [found[0] for found in seen] == [False, True, False, True, False]  # sanity, then two epochs
        assert {(found[1][0], len(found[1]), found[2], found[3]) for found in seen} == {(SDPBackend.MATH, 1, 2, True)}
        assert _cur_sdpa_kernel_backends() == before
        assert method.clip.images_at_once is None
        assert not method.clip.text._checkpoints()

    def test_a_fit_in_parts_ends_with_the_same_weights(self) -> None:
        ends, both = [], [dict[str, Any](), {"images_at_once": 2, "checkpoint_text": True}]
        for options in both:
            method = build(**RATES)
            samples = loader([in_double(one) for one in images_of(method, EVEN)], 8)
            quiet_trainer(max_epochs=2, callbacks=[Compute(**options)]).fit(method, samples)
            ends.append(method.state_dict())
        for name, tensor in ends[0].items():
            torch.testing.assert_close(ends[1][name], tensor, rtol=1e-7, atol=1e-9, msg=name)


class TestAccumulation:
    @pytest.mark.parametrize(
        "kind", [kind for kind in TRAINED if kind is not AttentionMIL], ids=lambda kind: kind.__name__
    )
    def test_a_method_knows_whether_its_loss_contrasts_the_images_of_a_batch(self, kind: type[OrdinalMethod]) -> None:
        method = build(kind)
        batch = in_double(batch_of(method, EVEN))
        with torch.no_grad():
            whole = loss_of(method, batch)
            halves = [
                loss_of(method, {name: found[part] for name, found in batch.items()})
                for part in (slice(4), slice(4, 8))
            ]
        is_mean = bool(torch.isclose(whole, torch.stack(halves).mean(), rtol=1e-9))
        assert is_mean == (method.contrast == ""), method.contrast

    def test_it_is_refused_where_it_would_contrast_less(self) -> None:
        method = build(loss_weights={"text_to_image": 0.5})
        trainer = quiet_trainer(max_epochs=1, accumulate_grad_batches=2, callbacks=[Compute()])
        with pytest.raises(ConfigError, match=r"loss_weights.text_to_image .*together.*compute.images_at_once"):
            trainer.fit(method, loader(images_of(method, TARGETS)))

    def test_elsewhere_it_is_the_large_batch(self) -> None:
        ends = []
        for size, parts in ((8, 1), (4, 2)):
            method = build(loss_weights={"text_to_image": 0})
            samples = loader([in_double(one) for one in images_of(method, EVEN)], size)
            quiet_trainer(max_epochs=2, accumulate_grad_batches=parts, callbacks=[Compute()]).fit(method, samples)
            ends.append(method.state_dict())
        for name, tensor in ends[0].items():
            torch.testing.assert_close(ends[1][name], tensor, rtol=1e-7, atol=1e-9, msg=name)


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"attention": "fast"}, "compute.attention"),
            ({"images_at_once": 0}, "give 1 or more"),
        ],
    )
    def test_what_is_no_option(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            Compute(**options)

    @pytest.mark.parametrize(
        ("method", "options", "message"),
        [
            ({"kind": LinearProbe}, {"checkpoint_text": True}, "LinearProbe learns none"),
            ({"kind": AnomalyCLIP}, {"checkpoint_text": True}, "deep tokens"),
            ({"kind": CoOp, "backbone": "tiny-resnet", **RATES}, {"images_at_once": 2}, "BatchNorm"),
            ({}, {"attention": "cudnn"}, "attention=cudnn is not there on cpu with precision 32-true"),
            ({"leash": 1.0, **RATES}, {"images_at_once": 2}, "model.leash"),
        ],
    )
    def test_what_would_not_be_the_same(self, method: dict[str, Any], options: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            prepared(build(**method), **options)


class TestTheCommand:
    def test_a_run_with_all_of_them_ends_as_a_plain_one(self, numclip: Numclip) -> None:
        flags = ["--model.learning_rates.image_encoder=1e-4", "--trainer.max_epochs=1"]
        options = ["--compute={images_at_once: 3, checkpoint_text: true, attention: math}"]
        plain, other = metrics_of(numclip("fit", *flags)), metrics_of(numclip("fit", *flags, *options))
        assert other["val_mae"] == pytest.approx(plain["val_mae"], rel=1e-4)

    @pytest.mark.slow
    def test_lightnings_finder_doubles_the_batch_of_the_datamodule(self, numclip: Numclip) -> None:
        finder = (
            "[{class_path: BatchSizeFinder, init_args: {max_trials: 2, steps_per_trial: 1, init_val: 2, margin: 0.0}}]"
        )
        run = numclip("fit", f"--trainer.callbacks+={finder}", "--trainer.max_epochs=1", "--data.batch_size=2")
        # It tries 2 and 4: then 21 images are six steps.
        assert [row["step"] for row in rows_of(run / "metrics.csv") if row["val_mae"]] == ["5"]

"""The methods that compare images with prompts, beside NumCLIP: zero-shot CLIP, CoOp and OrdinalCLIP."""

import math
from typing import Any

import pytest
import torch

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base import LearningRates, OptimizerSpec, PromptedMethod, SchedulerSpec
from numclip_lightning.methods.coop import CoOp
from numclip_lightning.methods.ordinalclip import OrdinalCLIP
from numclip_lightning.methods.zero_shot import ZeroShotCLIP
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import TARGETS, TINY, bright, loader, mae_of, quiet_trainer, without_gradient

register_tiny_clips()
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

METHODS = [ZeroShotCLIP, CoOp, OrdinalCLIP]


@torch.no_grad()
@pytest.mark.parametrize("names", ["phrases", "numbers"])
@pytest.mark.parametrize("decode", ["argmax", "expectation"])
def test_zero_shot_follows_the_definition(names: Any, decode: Any) -> None:
    method = ZeroShotCLIP(**TINY, names=names, decode=decode).eval()
    words = ["hardly any", "many"] if names == "phrases" else [str(number) for number in range(7)]
    centers = [1.5, 5.0] if names == "phrases" else list(range(7))
    images = torch.randn(3, 3, 32, 32)
    output = method(images)
    features, texts = method.clip.encode_image(images), method.clip.encode_text([f"{word} dots" for word in words])
    for b in range(3):
        cosines = [float(features[b] @ text / (features[b].norm() * text.norm())) for text in texts]
        shares = [math.exp(cosine / 0.07) for cosine in cosines]
        mean = sum(share * center for share, center in zip(shares, centers, strict=True)) / sum(shares)
        best = centers[cosines.index(max(cosines))]
        assert output.value[b].item() == pytest.approx(best if decode == "argmax" else mean, rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("names", ["phrases", "numbers"])
def test_the_median_halves_the_probability(names: Any) -> None:
    method = ZeroShotCLIP(**TINY, names=names, decode="median").eval()
    output = method(torch.randn(8, 3, 32, 32))
    for row, value in zip(output.logits.softmax(dim=1).tolist(), output.value.tolist(), strict=True):
        # A number has its probability in one place; a level spreads it evenly from its first to its last number.
        spans = [(0, 3), (4, 6)] if names == "phrases" else [(number, number) for number in range(7)]
        shares = [
            p * (float(value >= low) if low == high else min(max((value - low) / (high - low), 0), 1))
            for p, (low, high) in zip(row, spans, strict=True)
        ]
        at_it = sum(p for p, (low, high) in zip(row, spans, strict=True) if low == high == value)
        assert sum(shares) - at_it - 1e-4 <= 0.5 <= sum(shares) + 1e-4


def test_zero_shot_learns_nothing_and_says_so() -> None:
    method = ZeroShotCLIP(**TINY)

    assert not any(parameter.requires_grad for parameter in method.parameters())
    with pytest.raises(ConfigError, match="nothing is left to train"):
        quiet_trainer(max_epochs=1).fit(method, loader(bright([1.0, 2.0])))


def test_a_level_is_as_probable_as_its_values_together() -> None:
    method = ZeroShotCLIP(**TINY, names="numbers")
    with torch.no_grad():
        ranks = method.eval()(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))).logits.softmax(1)
    images = [
        {"image": image, "index": torch.tensor(i)}
        for i, image in enumerate(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    ]
    batch: Any = quiet_trainer().predict(method, loader(images))[0]  # type: ignore[index]

    expected = torch.stack([ranks[:, :4].sum(1), ranks[:, 4:].sum(1)], dim=1)
    torch.testing.assert_close(batch.probabilities, expected, rtol=1e-4, atol=1e-6)
    assert batch.level.tolist() == expected.argmax(1).tolist()


def test_coop_trains_the_context_alone() -> None:
    method = CoOp(**TINY, num_context=4)
    before = {name: parameter.clone() for name, parameter in method.named_parameters()}
    quiet_trainer(max_epochs=1).fit(method, loader(bright([0.0, 3.0, 6.0])))

    changed = {name for name, parameter in method.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == {"prompts.context"}


def test_coop_with_a_context_for_each_class() -> None:
    method = CoOp(**TINY, num_context=3, shared_context=False)
    assert method.prompts.context is not None
    assert method.prompts.context.shape == (7 * 3, 32)
    before = method.prototypes().detach()
    with torch.no_grad():
        method.prompts.context[3:6] += 1.0  # of the second class
    moved = (method.prototypes() - before).abs().amax(dim=1) > 1e-6
    assert moved.tolist() == [False, True, False, False, False, False, False]


def test_ordinalclip_interpolates_its_ranks() -> None:
    method = OrdinalCLIP(**TINY, num_base=2, num_tokens=2, num_context=None)
    embeddings, _ = method.prompts(method.clip.text)
    base = method.prompts.base.detach()
    for rank in range(7):
        share = rank / 6
        for token in range(2):
            expected = (1 - share) * base[0, token] + share * base[1, token]
            torch.testing.assert_close(embeddings[rank, 1 + token], expected, rtol=1e-5, atol=1e-6)


def test_ordinalclip_bases_start_from_words_and_leave_the_rest_random() -> None:
    method = OrdinalCLIP(**TINY, num_base=2, num_tokens=2, base_phrases=["few", "very many"])
    table, ids = method.clip.text.token_embedding.weight, method.clip.tokenize(["few", "very many"])
    base = method.prompts.base

    assert torch.equal(base[0, 0], table[ids[0][0]])
    assert torch.equal(base[1], table[ids[1]])
    # Token 0 is a real "!" that nobody wrote.
    assert not torch.equal(base[0, 1], table[0])


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        (CoOp, {}),
        (OrdinalCLIP, {"interpolation": "linear"}),
        pytest.param(OrdinalCLIP, {"interpolation": "inverse"}, marks=pytest.mark.slow),
        # Ranks far from every base are all alike: of three bases, 2 and 4 would be.
        pytest.param(OrdinalCLIP, {"interpolation": "normal", "num_base": 4}, marks=pytest.mark.slow),
    ],
)
def test_a_small_set_is_learnt_and_every_trained_parameter_gets_a_gradient(
    method: Any, arguments: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    learner: PromptedMethod[Any] = method(
        **TINY,
        **arguments,
        num_context=4,
        text_to_image=0.1,
        learning_rates=LearningRates(1e-3, 0, 1e-2, 1e-2, 0),
        optimizer=OptimizerSpec("AdamW"),
        lr_scheduler=SchedulerSpec("OneCycleLR", interval="step"),
    )
    quiet_trainer(max_epochs=150).fit(learner, loader(bright(TARGETS)))
    assert without_gradient(learner) == []
    # Guessing the median costs 2.
    assert mae_of(learner, TARGETS) < 0.3


def test_coop_learns_a_small_set_by_its_context_alone() -> None:
    torch.manual_seed(0)
    rates = LearningRates(image_encoder=0, adapter=0, context=3e-2, phrases=0, head=0)
    method = CoOp(
        **TINY, num_context=4, shared_context=False, learning_rates=rates, optimizer=OptimizerSpec("AdamW"),
        lr_scheduler=None,
    )  # fmt: skip
    # That of a trained CLIP: features of an untrained tower lie close together.
    torch.nn.init.constant_(method.clip.logit_scale, math.log(100))
    quiet_trainer(max_epochs=200).fit(method, loader(bright(TARGETS)))
    assert without_gradient(method) == []
    # Guessing the median costs 2.
    assert mae_of(method, TARGETS) < 0.3


@pytest.mark.parametrize(("context", "rate", "runs"), [(None, 0.0, 1), (4, 1e-3, 4)])
def test_the_text_tower_runs_anew_only_where_training_moves_the_words(
    context: int | None, rate: float, runs: int
) -> None:
    rates = LearningRates(image_encoder=1e-3, adapter=0, context=rate, phrases=0, head=0)
    method = CoOp(**TINY, num_context=context, learning_rates=rates, lr_scheduler=None)
    passes: list[int] = []
    method.clip.text.transformer.register_forward_hook(lambda *_: passes.append(method.training))
    samples = loader(bright(TARGETS), 1)
    quiet_trainer(max_epochs=2, num_sanity_val_steps=0).fit(method, samples, samples)
    # In training, of each of two epochs of four steps; the validations have a run each.
    assert (passes.count(True), passes.count(False)) == (2 * runs, 2)
    # And no words are kept that a loaded checkpoint would not change.
    before = method.prototypes()
    torch.nn.init.normal_(method.prompts.phrases)
    assert not torch.equal(method.prototypes(), before)


@torch.no_grad()
@pytest.mark.parametrize("method", METHODS)
def test_lengths_and_cosines_keep_their_digits_in_half_precision(method: Any) -> None:
    # CoOp's context is too long for the smallest tower.
    model = method(**{**TINY, "backbone": "tiny-timm"}).eval()
    features = torch.randn(5, 24).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found, prototypes = model.decode_features(features), model.prototypes()
    assert {found.logits.dtype, prototypes.dtype} == {torch.float32}
    unit = features.double() / features.double().norm(dim=1, keepdim=True)
    texts = prototypes.double() / prototypes.double().norm(dim=1, keepdim=True)
    expected = model.clip.logit_multiplier.double() * unit @ texts.T
    torch.testing.assert_close(found.logits.double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
@pytest.mark.parametrize("kind", [CoOp, OrdinalCLIP])
def test_training_stays_finite_for_batches_of_one_image_and_of_one_class(kind: Any, precision: Any) -> None:
    method = kind(**TINY, num_context=4, text_to_image=1.0)
    quiet_trainer(max_epochs=2, precision=precision, detect_anomaly=True).fit(
        method, loader(bright([2.0, 2.0, 6.0]), 2)
    )
    assert all(parameter.isfinite().all() for parameter in method.parameters())


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        (ZeroShotCLIP, {"names": "words"}, "names is 'words'; choose one of 'phrases', 'numbers'"),
        (ZeroShotCLIP, {"decode": "max"}, "decode is 'max'; choose one of"),
        (CoOp, {"text_to_image": -1}, "text_to_image is -1"),
        (OrdinalCLIP, {"text_to_image": float("nan")}, "text_to_image is nan"),
        (OrdinalCLIP, {"num_tokens": 0}, "num_tokens=0 must be 1 or more"),
        (OrdinalCLIP, {"num_base": 0}, "num_base=0"),
        (OrdinalCLIP, {"base_phrases": ["one"]}, "base_phrases has 1 entries for num_base=3"),
        (OrdinalCLIP, {"num_base": 1, "base_phrases": ["very many"]}, "has 2 tokens; set num_tokens=2"),
        (OrdinalCLIP, {"num_base": 1, "base_phrases": [" "]}, "has no words"),
        (OrdinalCLIP, {"learning_rates": LearningRates(phrases=0)}, "which would stay random; raise the rate, or give"),
    ],
)
def test_a_wrong_argument_is_refused(method: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        method(**TINY, **arguments)

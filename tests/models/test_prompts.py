import math
from typing import Any, Literal

import pytest
import torch

from numclip_lightning.errors import ConfigError
from numclip_lightning.models import CLIPBackbone, ConceptPrompts, interpolation_weights, load_clip
from support.tiny_clip import register_tiny_clips

register_tiny_clips()
PHRASES = ["child", "young adult", "old (65+) man", "1930s"]


@pytest.fixture(scope="module")
def clip() -> CLIPBackbone:
    return load_clip("tiny-vit", None)


@pytest.mark.parametrize("name", ["tiny-vit", "tiny-custom", "tiny-bidirectional", "tiny-last"])
@pytest.mark.parametrize("template", ["a photo of a {} face", "{} in view.", "Age: {}", "{}", "a {}-like one"])
def test_prompts_start_as_the_words_of_the_sentence(name: str, template: str) -> None:
    clip = load_clip(name, None).double()
    prompts = ConceptPrompts(clip, template, PHRASES)
    embeddings, end = prompts(clip.text)
    expected = clip.encode_text([template.replace("{}", phrase) for phrase in PHRASES])
    torch.testing.assert_close(clip.encode_embeddings(embeddings, end), expected, atol=1e-10, rtol=0)
    longest = max(len(ids) for ids in clip.tokenize([template.replace("{}", phrase) for phrase in PHRASES]))
    assert embeddings.shape == (4, longest + 2, 32)
    assert end.max() == longest + 1


def test_learned_are_the_shared_context_and_the_phrases_alone(clip: CLIPBackbone) -> None:
    prompts = ConceptPrompts(clip, "a photo of a {}.", ["child", "young adult"])
    assert {name: tuple(p.shape) for name, p in prompts.named_parameters()} == {"context": (4, 32), "phrases": (3, 32)}
    assert set(prompts.state_dict()) == {"context", "phrases"}
    for template in ("{}", "{}."):
        bare = ConceptPrompts(clip, template, ["child", "young adult"])
        assert {name: tuple(p.shape) for name, p in bare.named_parameters()} == {"phrases": (3, 32)}


@pytest.mark.parametrize("name", ["tiny-vit", "tiny-custom", "tiny-bidirectional", "tiny-last"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    ("template", "learned"), [("a {} face.", 2), ("a {} face .", 2), ("a {}.", 1), ("st. {} face", 3), ("a {}...", 2)]
)
def test_a_full_stop_at_the_end_is_kept_and_every_other_word_learned(
    name: str, shared: bool, template: str, learned: int
) -> None:
    clip = load_clip(name, None).double()
    prompts = ConceptPrompts(clip, template, PHRASES, shared_context=shared)
    assert prompts.context is not None
    assert not prompts.random_context
    assert len(prompts.context) == learned * (1 if shared else len(PHRASES))
    expected = clip.encode_text([template.replace("{}", phrase) for phrase in PHRASES])
    torch.testing.assert_close(clip.encode_embeddings(*prompts(clip.text)), expected, atol=1e-10, rtol=0)
    with torch.no_grad():
        prompts.context.add_(1)
    embeddings, end = prompts(clip.text)
    before_end = embeddings[torch.arange(len(PHRASES)), end - 1]
    stop = clip.text.token_embedding.weight[clip.tokenize(["."])[0][-1]].expand_as(before_end)
    kept = template.rstrip().endswith(".") and not template.endswith("..")
    assert torch.equal(before_end, stop) == kept


@pytest.mark.parametrize("arguments", [{}, {"num_context": 3}, {"num_context": 3, "position": "front"}])
@pytest.mark.parametrize("template", ["a {} face", "{}"])
def test_every_parameter_gets_a_gradient_and_the_frozen_tower_none(template: str, arguments: dict[str, Any]) -> None:
    clip = load_clip("tiny-vit", None).requires_grad_(False)
    prompts = ConceptPrompts(clip, template, PHRASES, **arguments)
    torch.autograd.backward(clip.encode_embeddings(*prompts(clip.text)).square().sum())
    for parameter in prompts.parameters():
        assert parameter.grad is not None
        assert (parameter.grad.abs().sum(dim=1) > 0).all()
    assert all(parameter.grad is None for parameter in clip.parameters())


def test_a_phrase_moves_its_own_prompt_only_and_the_context_moves_all(clip: CLIPBackbone) -> None:
    prompts = ConceptPrompts(clip, "a {} face", ["child", "young adult", "old man"])
    before = clip.encode_embeddings(*prompts(clip.text))
    with torch.no_grad():
        prompts.phrases[1] += 1.0  # "young"
    moved = (clip.encode_embeddings(*prompts(clip.text)) - before).abs().amax(dim=1) > 1e-6
    assert moved.tolist() == [False, True, False]
    with torch.no_grad():
        assert prompts.context is not None
        prompts.context[0] += 1.0
    moved = (clip.encode_embeddings(*prompts(clip.text)) - before).abs().amax(dim=1) > 1e-6
    assert moved.tolist() == [True, True, True]


@pytest.mark.parametrize(
    ("position", "order"),
    [
        ("tail", [["<", 0, 1, 2, "old", "man", ".", ">"], ["<", 0, 1, 2, "child", ".", ">", "!"]]),
        ("middle", [["<", 0, "old", "man", 1, 2, ".", ">"], ["<", 0, "child", 1, 2, ".", ">", "!"]]),
        ("front", [["<", "old", "man", 0, 1, 2, ".", ">"], ["<", "child", 0, 1, 2, ".", ">", "!"]]),
    ],
)
def test_random_context_is_at_its_position(
    clip: CLIPBackbone, position: Literal["tail", "middle", "front"], order: list[list[str | int]]
) -> None:
    prompts = ConceptPrompts(clip, "ignored {}", ["old man", "child"], num_context=3, position=position)
    embeddings, end = prompts(clip.text)
    ids = {"<": 49406, ">": 49407, "!": 0} | {
        word: clip.tokenize([word])[0][0] for word in ("old", "man", "child", ".")
    }
    for row, wanted in zip(embeddings, order, strict=True):
        for found, item in zip(row, wanted, strict=True):
            assert prompts.context is not None
            token = clip.text.token_embedding.weight[ids[item]] if isinstance(item, str) else prompts.context[item]
            assert torch.equal(found, token)
    assert end.tolist() == [row.index(">") for row in order]


def test_random_context_is_normal_with_deviation_002(clip: CLIPBackbone) -> None:
    torch.manual_seed(0)
    prompts = ConceptPrompts(load_clip("tiny-timm", None), "{}", ["x"], num_context=20)
    assert prompts.context is not None
    assert prompts.context.shape == (20, 32)
    assert prompts.context.std().item() == pytest.approx(0.02, rel=0.1)
    assert abs(prompts.context.mean().item()) < 0.003


def test_a_checkpoint_restores_prompts_of_another_random_model() -> None:
    torch.manual_seed(1)
    first = load_clip("tiny-vit", None)
    learned = ConceptPrompts(first, "a {} face", PHRASES)
    torch.manual_seed(2)
    second = load_clip("tiny-vit", None)
    restored = ConceptPrompts(second, "a {} face", PHRASES)
    second.load_state_dict(first.state_dict())
    restored.load_state_dict(learned.state_dict())
    assert torch.equal(second.encode_embeddings(*restored(second.text)), first.encode_embeddings(*learned(first.text)))


@pytest.mark.parametrize(
    ("template", "phrases", "arguments", "message"),
    [
        ("a face", ["child"], {}, r"template='a face' must have one \{\} where the phrase goes"),
        ("{} and {}", ["child"], {}, r"must have one \{\}"),
        ("{}s", ["old", "adult"], {}, r"template='\{\}s' and phrase 'old' run into each other.*put a space"),
        ("a {}.", ["what!"], {}, r"phrase 'what!' run into each other"),
        ("a {}", ["child", "  "], {}, "the phrase '  ' has no words"),
        ("a {}", [], {}, "must be a list of one text or more"),
        (
            "a {} face",
            ["child", "x " * 13],
            {},
            r"phrase 'x x .*' has 17 tokens, the text tower reads 16; shorten the phrase",
        ),
        (
            "{}",
            ["child", "x " * 4],
            {"num_context": 10},
            r"phrase 'x x x x ' has 17 tokens, .* reads 16; .* num_context",
        ),
        ("a {}", ["child"], {"num_context": 0}, "num_context=0 must be 1 or more, or null"),
        (
            "a {}",
            ["child"],
            {"num_context": 2, "position": "top"},
            "position is 'top'; choose one of 'tail', 'middle', 'front'",
        ),
        ("a {}", ["child"], {"position": "front"}, "position='front' is for random context tokens; set num_context"),
    ],
)
def test_prompts_that_cannot_be_built_are_refused(
    clip: CLIPBackbone, template: str, phrases: list[str], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ConceptPrompts(clip, template, phrases, **arguments)


def slow_weights(num_base: int, num_ranks: int, kind: str) -> list[list[float]]:
    """The formula in plain loops; `normal` shifted by its largest exponent, which cancels in the quotient."""
    rows = []
    for rank in range(num_ranks):
        row, exponents = [], []
        for base in range(num_base):
            center = base * (num_ranks - 1) / (num_base - 1) if num_base > 1 else (num_ranks - 1) / 2
            distance = abs(rank - center)
            exponents.append(-(distance**2))
            if kind == "linear":
                row.append(1 - distance / (num_ranks - 1) if num_ranks > 1 else 1.0)
            else:
                row.append(1 / (distance + 1e-5))
        if kind == "normal":
            row = [math.exp(exponent - max(exponents)) for exponent in exponents]
        rows.append([weight / math.fsum(row) for weight in row])
    return rows


@pytest.mark.parametrize("kind", ["linear", "inverse", "normal"])
@pytest.mark.parametrize(("num_base", "num_ranks"), [(1, 1), (3, 1), (1, 5), (2, 2), (3, 62), (2, 101), (10, 7)])
def test_interpolation_weights_follow_the_formula(
    num_base: int, num_ranks: int, kind: Literal["linear", "inverse", "normal"]
) -> None:
    found = interpolation_weights(num_base, num_ranks, kind)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor(slow_weights(num_base, num_ranks, kind)), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(num_ranks), atol=1e-6, rtol=0)


def test_the_unshifted_formula_underflows_where_ours_does_not() -> None:
    distance = (torch.arange(101.0)[:, None] - torch.tensor([0.0, 100.0])).abs()
    assert torch.exp(-distance.square()).sum(dim=1).eq(0).sum() == 79
    found = interpolation_weights(2, 101, "normal")
    assert found.isfinite().all()
    assert found[50].tolist() == [0.5, 0.5]
    assert found[49].tolist() == pytest.approx([1.0, 0.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 5, "linear"), "num_base=0 and num_ranks=5 must be 1 or more"),
        ((3, 0, "linear"), "num_base=3 and num_ranks=0 must be 1 or more"),
        ((3, 5, "cubic"), "interpolation is 'cubic'; choose one of 'linear', 'inverse', 'normal'"),
    ],
)
def test_wrong_interpolation_is_refused(arguments: tuple[int, int, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        interpolation_weights(*arguments)

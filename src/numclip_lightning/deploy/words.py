"""Which words of a level's prompt its own images speak for, and which phrase they contradict."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.prompts import ConceptPrompts
from numclip_lightning.models.text_words import Attended, Word, attend, sums, token_scores, words_of

__all__ = ["LevelWords", "WordScore", "image_words", "level_words", "words_text", "write_words"]


class WordScore(NamedTuple):
    """A word of a prompt.

    Attributes:
        text: The word; what is learned without words is `[context 1]`.
        own: What it adds to the cosine with the images of its level, on average.
        rest: With the images of all other levels.
    """

    text: str
    own: float
    rest: float


class LevelWords(NamedTuple):
    """The words of a level, or of a value where the prompts are of values.

    Attributes:
        phrase: Its words.
        images: How many images it has.
        margin: How much nearer its prompt is, in cosine, to its own images than to all others; NaN without either.
        words: Each word of the whole prompt.
    """

    phrase: str
    images: int
    margin: float
    words: list[WordScore]

    @property
    def contradicted(self) -> bool:
        """Whether other images fit the phrase better than its own do."""
        return self.margin < 0


def level_words(method: Any, features: Tensor, target: Tensor) -> list[LevelWords]:
    """Weigh the words of each prompt by labelled images, of validation best.

    Args:
        method: A method whose prompts have words.
        features: Features of the image tower (N, D), not normalised.
        target: The number of each image (N,).

    Raises:
        ConfigError: If the method has no such prompts.
        ScaleError: If a target is outside the scale.
    """
    attended, words = _opened(method)
    scale = method.scale
    label = (scale.to_level if len(words) == scale.num_levels else scale.to_rank)(target.double())
    with torch.no_grad():
        known = method.adapt(features).to(attended.features)
    counts = torch.bincount(label, minlength=len(words)).to(known)
    sums_of = known.new_zeros(len(words), known.shape[1]).index_add_(0, label.to(known.device), known)
    own = sums_of / counts[:, None]
    rest = (known.sum(dim=0) - sums_of) / (len(known) - counts)[:, None]
    prototypes = F.normalize(attended.features.detach(), dim=1)
    margins = ((own - rest) * prototypes).sum(dim=1).tolist()
    scores = [token_scores(attended, direction) for direction in (own, rest)]
    found = []
    for k, (phrase, parts) in enumerate(words):
        ours, theirs = (sums(one[k], parts) for one in scores)
        scored = [WordScore(word.text, *pair) for word, *pair in zip(parts, ours, theirs, strict=True)]
        found.append(LevelWords(phrase, int(counts[k]), margins[k], scored))
    return found


def image_words(method: Any, features: Tensor) -> list[tuple[str, list[tuple[str, float]]]]:
    """Return for each prompt its phrase, and each word with what it adds to the cosine with one image.

    Args:
        method: A method whose prompts have words.
        features: Features of the image (1, D), not normalised.

    Raises:
        ConfigError: If the method has no such prompts.
    """
    attended, words = _opened(method)
    with torch.no_grad():
        direction = method.adapt(features).to(attended.features)[0]
    scores = token_scores(attended, direction)
    return [
        (phrase, list(zip([word.text for word in parts], sums(scores[k], parts), strict=True)))
        for k, (phrase, parts) in enumerate(words)
    ]


def write_words(levels: Sequence[LevelWords], path: Path) -> None:
    """Write a table: level, phrase, images, margin, place, word, own, rest."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["level", "phrase", "images", "margin", "place", "word", "own", "rest"])
        for number, level in enumerate(levels):
            shared = [number, level.phrase, level.images, f"{level.margin:.6g}"]
            for place, word in enumerate(level.words):
                table.writerow([*shared, place, word.text, f"{word.own:.6g}", f"{word.rest:.6g}"])


def words_text(levels: Sequence[LevelWords]) -> str:
    """Say it in words, a line for each level, those that their own images contradict marked."""
    lines = []
    for level in levels:
        if level.images == 0:
            lines.append(f"  {level.phrase}: no images")
            continue
        strongest = sorted(level.words, key=lambda word: word.rest - word.own)
        said = ", ".join(f"{word.text} {word.own - word.rest:+.2g}" for word in strongest)
        mark = "  <- contradicted: other images fit it better" if level.contradicted else ""
        lines.append(f"  {level.phrase} ({level.images} images, margin {level.margin:+.3f}): {said}{mark}")
    return "\n".join(lines)


def _opened(method: Any) -> tuple[Attended, list[tuple[str, list[Word]]]]:
    """Return the prompts with their attention, and the phrase and the words of each."""
    prompts = getattr(method, "prompts", None)
    if not isinstance(prompts, ConceptPrompts):
        raise ConfigError(
            f"{type(method).__name__} has no prompts of words, so that no word can be weighed; take a method with a "
            "phrase, a range or a number for each prompt, such as NumCLIP or ZeroShotCLIP."
        )
    scale, clip = method.scale, method.clip
    phrases: list[str] = list(getattr(method, "words", scale.phrases))
    with torch.no_grad():
        embeddings, end = prompts(clip.text)
    # "No" prompts follow those of the levels.
    attended = attend(clip, embeddings[: len(phrases)], end[: len(phrases)])
    if prompts.random_context:
        learned = prompts.num_context, prompts.split
        return attended, [(phrase, words_of(clip, phrase, *learned)) for phrase in phrases]
    return attended, [(phrase, words_of(clip, scale.template.replace("{}", phrase))) for phrase in phrases]

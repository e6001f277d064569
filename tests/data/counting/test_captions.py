import random
import re
from collections import defaultdict

from numclip_lightning.data.counting.captions import QUANTITIES, caption, level_of, phrases
from numclip_lightning.data.counting.scenes import LARGEST, Facts, draw_counts, make_scenes

# Written down here for itself; ordinals, fractions and words for collections of a fixed size count too.
_WORDS = """
    zero three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty thirty forty fourty fifty sixty seventy eighty ninety hundred hundreds thousand thousands million
    millions billion dozen dozens score scores gross trio triple triples triplet quartet quintet sextet octet decade
    third fourth fifth sixth seventh eighth ninth tenth thrice threefold tenfold half quarter
"""
NUMBER_WORDS = set(_WORDS.split())


def facts(count: int = 4, **changes: object) -> Facts:
    values: dict[str, object] = {"shape": "star", "colour": "red", "background": "blue", "side": 30, "strokes": 5}
    return Facts(count=count, **{**values, **changes})  # type: ignore[arg-type]


def test_no_digit_and_no_number_word_above_two() -> None:
    rng = random.Random(0)
    counts = draw_counts(0, "pretrain", 1500).tolist()
    captions = {
        caption(scene.facts, rng) for scene in make_scenes(0, "pretrain", range(1500), counts) for _ in range(20)
    }
    assert len(captions) > 5000
    words = {word for text in captions for word in re.findall(r"\w+", text.lower())}
    assert not [text for text in captions if re.search(r"\d", text)]
    assert not words & NUMBER_WORDS
    assert {"one", "two", "single", "countless"} <= words  # the words are read at all
    assert all(text.isascii() for text in captions)


def test_captions_match_the_facts() -> None:
    rng = random.Random(0)
    for count in range(1, LARGEST + 1):
        own = QUANTITIES[level_of(count)][1]
        for _ in range(50):
            text = caption(facts(count), rng)
            assert [word for word in own if re.search(rf"\b{word}\b", text)], text
            assert not re.search("yellow|circle|square|many colours|tiny", text)
    said = " / ".join(caption(facts(), rng) for _ in range(300))
    for words in ("red", "stars", "on a blue background", "medium-sized", "scratches", "things"):
        assert words in said
    plain = " / ".join(caption(facts(colour=None, shape=None, strokes=0), rng) for _ in range(300))
    assert "colours" in plain
    assert "scratches" not in plain
    assert "star" not in plain


def test_words_belong_to_one_level() -> None:
    levels = defaultdict(set)
    for level, (_, words) in enumerate(QUANTITIES):
        for word in words:
            levels[word].add(level)
    assert all(len(found) == 1 for found in levels.values())


def test_one_thing_is_singular() -> None:
    rng = random.Random(1)
    nouns = {"thing", "object", "shape", "item", "cross", "plus sign", "box", "square"}
    for shape in ("cross", "square"):
        for _ in range(200):
            one, more = caption(facts(1, shape=shape), rng), caption(facts(9, shape=shape), rng)
            assert not re.search(r"\b(things|objects|shapes|items|crosses|plus signs|boxes|squares)\b", one), one
            assert re.search(r"\b(things|objects|shapes|items|crosses|plus signs|boxes|squares)\b", more), more
            assert any(re.search(rf"\b{noun}\b", one) for noun in nouns)


def test_levels_and_phrases() -> None:
    assert [level_of(count) for count in (1, 2, 3, 4, 5, 8, 9, 16, 17, 31, 32, 60)] == [
        0,
        1,
        2,
        2,
        3,
        3,
        4,
        4,
        5,
        5,
        6,
        6,
    ]
    assert phrases()[0] == "a single thing"
    assert phrases()[-1] == "countless things"
    assert len(phrases()) == 7

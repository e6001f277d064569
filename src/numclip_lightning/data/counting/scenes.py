"""Scenes for counting: things on a background with clutter; their total area does not reveal their number.

Every scene is a function of (seed, stream, number) alone. Randomness comes as raw 64-bit numbers from PCG64, a stream
that NumPy promises never to change, and everything else is arithmetic of whole numbers. So a scene is the same on every
machine, to the last pixel.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from numclip_lightning.data.counting.dice import Dice
from numclip_lightning.data.counting.stamps import FULL_BITS, SHAPES, TURNS, stamp

__all__ = ["LARGEST", "SIDE", "Facts", "Scene", "Stream", "draw_counts", "make_scenes", "paint"]

Stream = Literal["train", "val", "test", "pretrain"]
Colour = tuple[int, int, int]

SIDE = 64
"""Height and width of a scene in pixels."""
LARGEST = 60
"""The largest count; the smallest is 1."""

COLOURS: dict[str, Colour] = {
    "red": (215, 40, 40), "orange": (240, 140, 30), "yellow": (240, 220, 50), "green": (50, 160, 60),
    "blue": (50, 80, 210), "purple": (130, 60, 170), "pink": (240, 130, 180), "brown": (120, 75, 40),
    "white": (240, 240, 240), "grey": (128, 128, 128), "black": (20, 20, 20),
}  # fmt: skip

# Never change these numbers, or all scenes change.
_STREAMS: dict[Stream, int] = {"train": 1, "val": 2, "test": 3, "pretrain": 4}
_GRAIN = SIDE * SIDE // 8  # a byte for each pixel
_BLOCK = 1280 + _GRAIN  # raw numbers for each scene; the fullest needs about 1100 in addition to the grain
_TRIES = 5  # places tried for each thing
_INK = (380, 1100)  # pixels that all things of a scene cover together, for any number of things


class Shape(NamedTuple):
    """One shape on the canvas: `x` and `y` are its centre, in pixels; see `stamp` for the rest."""

    shape: str
    side: int
    turn: int
    fade: int
    x: int
    y: int
    colour: Colour


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a scene, for captions.

    Attributes:
        count: Number of things, 1..LARGEST.
        shape: The shape of all things, or None if they differ.
        colour: The colour of all things, or None if they differ.
        background: The colour of the background.
        side: Mean side of the things (square root of their area) in quarters of a pixel.
        strokes: Number of strokes of clutter.
    """

    count: int
    shape: str | None
    colour: str | None
    background: str
    side: int
    strokes: int


@dataclass(frozen=True)
class Scene:
    """A scene before it is painted.

    Attributes:
        facts: Facts for captions.
        shapes: Everything that is painted, from back to front: blotches, strokes, things.
        ground: Colour of the middle of the background.
        slope: How much brighter it gets over the whole width and height.
        grain: The maximum change of a pixel's brightness.
        noise: The grain of each pixel, (SIDE, SIDE) uint8.
    """

    facts: Facts
    shapes: tuple[Shape, ...]
    ground: Colour
    slope: tuple[int, int]
    grain: int
    noise: npt.NDArray[np.uint8]


def draw_counts(seed: int, stream: Stream, number: int) -> npt.NDArray[np.int64]:
    """Draw the counts of the first scenes of a stream, 1..LARGEST, evenly in the logarithm: n with weight 1/n.

    Args:
        seed: Seed of all scenes, 0 or more.
        stream: Which of the disjoint streams.
        number: How many; a larger number begins with the counts of a smaller one.

    Returns:
        Counts (number,) int64.
    """
    raw = np.random.PCG64(np.random.SeedSequence((seed, _STREAMS[stream], 0))).random_raw(number)
    weights = np.array([2**40 // count for count in range(1, LARGEST + 1)], dtype=np.uint64)
    edges = np.cumsum(weights)
    # 20 bits of each draw times a total of less than 2**43 stay within 64 bits.
    drawn = (raw >> np.uint64(44)) * edges[-1] >> np.uint64(20)
    counts: npt.NDArray[np.int64] = 1 + np.searchsorted(edges, drawn, side="right").astype(np.int64)
    return counts


def make_scenes(seed: int, stream: Stream, numbers: Iterable[int], counts: Iterable[int]) -> Iterator[Scene]:
    """Make scenes of a stream.

    Args:
        seed: Seed of all scenes, 0 or more.
        stream: Which of the disjoint streams.
        numbers: Indices of the scenes in the stream, from 0.
        counts: The count of each, from `draw_counts`.

    Yields:
        The scenes, in the order of `numbers`.
    """
    source = np.random.PCG64(np.random.SeedSequence((seed, _STREAMS[stream], 1)))
    position = 0
    for number, count in zip(numbers, counts, strict=True):
        if number != position:
            source.advance((number - position) * _BLOCK)
        yield _make_scene(int(count), source.random_raw(_BLOCK))
        position = number + 1


def _make_scene(count: int, block: npt.NDArray[np.uint64]) -> Scene:
    """Make one scene from its block of raw random numbers.

    The ink of all things together is drawn first and divided among them, so it doesn't depend on their number.
    Contrast, clutter, the spread of the things and the light of the background don't depend on it either.
    """
    dice = Dice(block[_GRAIN:])
    background = _pick(dice, tuple(COLOURS))
    ground = _jitter(dice, COLOURS[background], 15)
    fitting = [name for name, colour in COLOURS.items() if _distance(colour, ground) >= 160]
    shape = _pick(dice, SHAPES) if dice.chance(65) or count == 1 else None
    colour = _pick(dice, fitting) if dice.chance(65) or count == 1 else None
    contrast = dice.roll(9, 16)
    blotches, strokes = dice.roll(0, 3), dice.roll(0, 7)
    slope = (dice.roll(-30, 30), dice.roll(-30, 30))
    grain = dice.roll(2, 16)
    clutter = [_blotch(dice, ground) for _ in range(blotches)]
    clutter += [_stroke(dice, _blend(ground, COLOURS[_pick(dice, fitting)], contrast)) for _ in range(strokes)]
    sides = _share_ink(dice, count)
    fade = 5 * dice.roll(0, 3)
    masks = [(shape or _pick(dice, SHAPES), side, dice.roll(0, TURNS - 1), fade) for side in sides]
    places = _place(dice, [stamp(*mask).shape[0] // 2 for mask in masks], sides)
    things = [
        Shape(*mask, x, y, _blend(ground, _jitter(dice, COLOURS[colour or _pick(dice, fitting)], 15), contrast))
        for mask, (x, y) in zip(masks, places, strict=True)
    ]
    noise = block[:_GRAIN].astype("<u8").view(np.uint8).reshape(SIDE, SIDE)
    facts = Facts(count, shape, colour, background, sum(sides) // count, strokes)
    return Scene(facts, (*clutter, *things), ground, slope, grain, noise)


def paint(scene: Scene) -> npt.NDArray[np.uint8]:
    """Paint a scene: pixels (SIDE, SIDE, 3), 8-bit RGB."""
    ramp = np.arange(SIDE, dtype=np.int16) - SIDE // 2
    light = (ramp * scene.slope[0])[None, :] + (ramp * scene.slope[1])[:, None]
    canvas = np.array(scene.ground, dtype=np.int16) + (light >> 6)[:, :, None]
    for *mask_of, x, y, colour in scene.shapes:
        mask = stamp(*mask_of)
        half = mask.shape[0] // 2
        top, left = max(y - half, 0), max(x - half, 0)
        region = canvas[top : y + half, left : x + half]
        if region.shape[:2] != mask.shape[:2]:  # it sticks out of the canvas
            mask = mask[top - y + half :, left - x + half :][: region.shape[0], : region.shape[1]]
        region += (np.array(colour, dtype=np.int16) - region) * mask >> FULL_BITS
    canvas += ((scene.noise.astype(np.int16) - 128) * scene.grain >> 7)[:, :, None]
    return canvas.clip(0, 255).astype(np.uint8)


def _share_ink(dice: Dice, count: int) -> list[int]:
    """Divide the scene's ink among its things; return their sides in quarters of a pixel."""
    ink = 16 * dice.roll(*_INK)
    variety = dice.roll(0, 40)
    shares = [100 + dice.roll(-variety, variety) for _ in range(count)]
    total = sum(share * share for share in shares)
    # The half of a unit rounds to the nearest side.
    return [(math.isqrt(4 * ink * share * share // total) + 1) // 2 for share in shares]


def _place(dice: Dice, halves: list[int], sides: list[int]) -> list[tuple[int, int]]:
    """Find a place for each thing: the first of a few tries that keeps its distance, or else the one with most room.

    The distance and the used part of the canvas vary from scene to scene, so in some scenes things touch.
    """
    spacing = dice.roll(70, 125)
    width, height = dice.roll(46, SIDE), dice.roll(46, SIDE)
    corner = np.array((dice.roll(0, SIDE - width), dice.roll(0, SIDE - height)))
    # A thing that is larger than the used part goes into its middle.
    reach = np.minimum(np.array(halves)[:, None, None], np.array((width // 2, height // 2)))
    tries = corner + reach + dice.roll_array(np.array((width, height)) - 2 * reach, _TRIES)
    wanted = (np.add.outer(sides, sides) * spacing // 800) ** 2  # of the mean side, in pixels, squared
    places = tries[:, 0].copy()
    for i in range(1, len(places)):
        apart = tries[i, :, None] - places[:i]
        apart *= apart
        room = (apart[:, :, 0] + apart[:, :, 1] - wanted[i, :i]).min(axis=1)
        free = room >= 0
        places[i] = tries[i, (free if free.any() else room).argmax()]
    return [(x, y) for x, y in places.tolist()]


def _blotch(dice: Dice, ground: Colour) -> Shape:
    """Make a large patch of the background that is a little lighter or darker."""
    shift = dice.roll(8, 22) * (1 if dice.chance(50) else -1)
    red, green, blue = (channel + shift for channel in ground)
    return Shape("circle", dice.roll(60, 160), 0, 0, dice.roll(0, SIDE), dice.roll(0, SIDE), (red, green, blue))


def _stroke(dice: Dice, colour: Colour) -> Shape:
    return Shape(
        "stroke", dice.roll(16, 26), dice.roll(0, TURNS - 1), 0, dice.roll(0, SIDE), dice.roll(0, SIDE), colour
    )


def _pick(dice: Dice, choices: Sequence[str]) -> str:
    return choices[dice.roll(0, len(choices) - 1)]


def _jitter(dice: Dice, colour: Colour, most: int) -> Colour:
    red, green, blue = (min(max(channel + dice.roll(-most, most), 0), 255) for channel in colour)
    return red, green, blue


def _blend(ground: Colour, colour: Colour, contrast: int) -> Colour:
    """Bring a colour nearer to the ground; `contrast` is the share of the colour, in sixteenths."""
    red, green, blue = (a + (b - a) * contrast // 16 for a, b in zip(ground, colour, strict=True))
    return red, green, blue


def _distance(one: Colour, other: Colour) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))

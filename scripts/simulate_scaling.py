"""Time and cost of fits and of large predictions on GPUs that are not here: arithmetic, and a simulation of a fleet.

Nothing is measured. A rate is the peak of the card, times the share of it that towers reach, over the operations of an
image; all three are arguments, and docs/scaling.md says where the defaults come from.

    python scripts/simulate_scaling.py datasets                  # the published data sets on one card
    python scripts/simulate_scaling.py fleet                     # 10^8 images on 64 cards
    python scripts/simulate_scaling.py fleet --gpus 8 --images 1e7 --decode_ms 15
"""

import argparse
import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
# About how many images are trained on: of the published split, or of all where a fifth is drawn for the test, less the
# tenth that is set aside for validation. Of aesthetics one of four categories (people), of shanghaitech part A; the
# sets of facebenchmark are those of other rows.
TRAINING_IMAGES = {
    "adience": 12_500, "aesthetics": 1_940, "afad": 118_400, "agedb": 11_900, "agedb_dir": 12_208, "appa_real": 4_113,
    "ava": 212_000, "cacd": 145_000, "clap2015": 2_476, "clap2016": 4_113, "fgnet": 890, "historical": 1_050,
    "imdb_wiki_dir": 191_500, "knee": 5_778, "koniq": 7_058, "morph": 4_000, "retina": 2_640, "shanghaitech": 270,
    "utkface": 17_100, "yearguessr": 33_000,
}  # fmt: skip


class Tower(NamedTuple):
    """The shape of a vision transformer."""

    width: int
    layers: int
    patch: int
    side: int = 224

    @property
    def operations(self) -> float:
        """Floating-point operations of one image forward: two for each multiplication with addition."""
        patches = (self.side // self.patch) ** 2
        tokens = patches + 1
        layer = 12 * self.width**2 * tokens + 2 * tokens**2 * self.width
        return 2.0 * (self.layers * layer + patches * 3 * self.patch**2 * self.width)


TOWERS = {"ViT-B-32": Tower(768, 12, 32), "ViT-B-16": Tower(768, 12, 16), "ViT-L-14": Tower(1024, 24, 14)}
# One prompt token through a text tower of width 512 and 12 layers.
_TEXT_TOKEN = 2.0 * 12 * 12 * 512**2


@dataclass(frozen=True)
class Card:
    """A GPU with its share of a machine.

    Attributes:
        peak: Operations a second.
        used: The share of the peak that a tower reaches forward in large batches, 0 to 1.
        used_training: The share that small training steps reach.
        price: Of an hour.
        cores: That decode images for it.
        decode: Seconds of a core for an image.
    """

    peak: float
    used: float
    used_training: float
    price: float
    cores: int
    decode: float

    def forward(self, tower: Tower) -> float:
        """Return images a second in a prediction: of the tower or of the decoding cores, whichever is slower."""
        return min(self.peak * self.used / tower.operations, self.cores / self.decode)

    def step(self, tower: Tower, batch: int, prompt_tokens: int, passes: int = 3) -> float:
        """Return the seconds of a training step; a backward pass costs two forward ones."""
        operations = passes * (batch * tower.operations + prompt_tokens * _TEXT_TOKEN)
        return max(operations / (self.peak * self.used_training), batch * self.decode / self.cores)


def datasets(card: Card, tower: Tower) -> Iterator[str]:
    """Yield a table: each published set with the recipe of its configuration, and with a frozen tower."""
    yield "| configuration | training images | epochs | batch | hours, tower trained | cost | seconds, frozen | cost |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for name, images in TRAINING_IMAGES.items():
        config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))
        epochs, batch = config["trainer"]["max_epochs"], config["data"]["init_args"]["batch_size"]
        prompts = len(config["model"]["init_args"]["scale"]["levels"])
        # A validation part of a tenth is read in each epoch.
        seconds = epochs * (images / batch * card.step(tower, batch, 16 * prompts) + images / 10 / card.forward(tower))
        frozen = 1.1 * images / card.forward(tower)
        yield (
            f"| {name} | {images:,} | {epochs} | {batch} | {seconds / 3600:.1f} | {seconds / 3600 * card.price:.2f} | "
            f"{frozen:.0f} | {frozen / 3600 * card.price:.3f} |"
        )


@dataclass(frozen=True)
class Fleet:
    """What a large prediction meets.

    Attributes:
        gpus: How many cards.
        images: How many images.
        shard: Images of a shard of input.
        start: Seconds to start a process, its imports and weights.
        spread: The deviation of the cards' speeds, as a share: neighbours, heat, storage.
        failures: Of a card in a thousand hours.
        repair: Seconds until another card takes its place.
        lost: Images that a killed process computes again: those since its last batch on disk.
    """

    gpus: int
    images: int
    shard: int
    start: float = 60.0
    spread: float = 0.05
    failures: float = 1.0
    repair: float = 600.0
    lost: int = 256


class Outcome(NamedTuple):
    """What a simulated prediction took: hours until the last row, hours of all cards, and how many failed."""

    hours: float
    gpu_hours: float
    failed: int


def simulate(fleet: Fleet, rate: float, *, queue: bool, seed: int = 0) -> Outcome:
    """Predict all images.

    Args:
        fleet: The fleet.
        rate: Images a second of a card.
        queue: Whether cards take the next shard when they are free, as Ray Data gives them out; otherwise each has an
            even stretch from the start, as `numclip predict` divides them.
        seed: Of speeds and failures.
    """
    rng = random.Random(seed)
    speeds = [rate * max(0.2, rng.gauss(1, fleet.spread)) for _ in range(fleet.gpus)]
    left = -(-fleet.images // fleet.shard)
    # When each card is free, and how much it has to do by itself.
    own = [left // fleet.gpus + (number < left % fleet.gpus) for number in range(fleet.gpus)]
    ready = [(fleet.start, number) for number in range(fleet.gpus)]
    heapq.heapify(ready)
    ends, failed = [fleet.start] * fleet.gpus, 0
    while ready:
        now, number = heapq.heappop(ready)
        if not (left if queue else own[number]):
            continue
        left, own[number] = left - 1, own[number] - 1
        seconds = fleet.shard / speeds[number]
        if rng.random() < seconds / 3600 * fleet.failures / 1000:
            failed += 1
            seconds += fleet.repair + fleet.start + fleet.lost / speeds[number]
        ends[number] = now + seconds
        heapq.heappush(ready, (ends[number], number))
    # Cards are given back when they have nothing left.
    return Outcome(max(ends) / 3600, sum(ends) / 3600, failed)


def fleets(card: Card, tower: Tower, fleet: Fleet, seeds: int = 20) -> Iterator[str]:
    """Yield a table: means over seeds, of both ways to divide the images."""
    rate = card.forward(tower)
    limit = "the tower" if rate < card.cores / card.decode else "decoding"
    ideal = fleet.images / rate / fleet.gpus / 3600
    yield f"{rate:,.0f} images a second and card ({limit} is the limit); without any loss {ideal:.2f} hours"
    yield ""
    yield "| division | hours | GPU hours | cost | of the ideal | cards that failed |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, queue in (("even stretches", False), ("shards from a queue", True)):
        found = [simulate(fleet, rate, queue=queue, seed=seed) for seed in range(seeds)]
        hours, gpu_hours, failed = (sum(column) / seeds for column in zip(*found, strict=True))
        cost = f"{gpu_hours * card.price:,.0f}"
        yield f"| {name} | {hours:.2f} | {gpu_hours:.0f} | {cost} | {ideal / hours:.2f} | {failed:.1f} |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("datasets", "fleet"))
    parser.add_argument("--tower", choices=TOWERS, default="ViT-B-16")
    parser.add_argument("--peak", type=float, default=312e12, help="operations a second of the card (A100, bf16)")
    parser.add_argument("--used", type=float, default=0.35, help="the share of the peak that is reached")
    parser.add_argument("--used_training", type=float, default=0.25, help="the same in training steps of 32")
    parser.add_argument("--price", type=float, default=4.1, help="of a card and hour")
    parser.add_argument("--cores", type=int, default=12, help="cores that decode for a card")
    parser.add_argument("--decode_ms", type=float, default=3.0, help="milliseconds of a core for an image")
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--images", type=float, default=1e8)
    parser.add_argument("--shard", type=int, default=10_000)
    return parser


if __name__ == "__main__":
    given = _parser().parse_args()
    card = Card(given.peak, given.used, given.used_training, given.price, given.cores, given.decode_ms / 1000)
    tower = TOWERS[given.tower]
    if given.what == "datasets":
        lines = datasets(card, tower)
    else:
        lines = fleets(card, tower, Fleet(given.gpus, int(given.images), given.shard))
    print("\n".join(lines))

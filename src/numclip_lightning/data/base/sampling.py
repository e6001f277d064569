"""The order of training images, a pure function of seed and epoch: the same in one process, in several, and resumed."""

from collections.abc import Iterator, Sequence, Sized
from itertools import chain
from typing import NamedTuple

import lightning as L
import numpy as np
import numpy.typing as npt
from torch.utils.data import DistributedSampler

from numclip_lightning.data.base.labels import Label
from numclip_lightning.data.base.splits import count_values, value_of

__all__ = ["Draw", "RangeSampler", "RareSampler", "ShardSampler", "TrainSampler", "index_of"]

_LARGEST_SEED = 2**62


class Draw(NamedTuple):
    """One place of an epoch.

    Attributes:
        index: The index of the image that stands there.
        seed: The seed of all that is random about it, such as its crop, 0..2**62 - 1.
    """

    index: int  # type: ignore[assignment]  # hides `tuple.index`
    seed: int


def index_of(draw: Draw | int) -> int:
    """Return the index of a draw, or the index itself where a sampler without seeds has given it."""
    return draw.index if isinstance(draw, Draw) else draw


class TrainSampler(DistributedSampler[Draw]):
    """Shuffle the training images of each epoch; every process takes every W-th place.

    Order and seeds depend on the seed of the run and the epoch alone, and take nothing from the generators of torch,
    NumPy or Python. So an epoch can be entered anywhere, and is the same whatever else was drawn before, by however
    many loading processes. If W does not divide the number of images, the first ones stand at the end again. Lightning
    announces the epoch, and leaves a `DistributedSampler` as it is.

    Args:
        dataset: The images.
        seed: The seed of the run, 0 or more.
        processes: W.
        process: The number of this one, 0..W-1.

    Attributes:
        start: How many places of this process the next epoch leaves out, of which it has been through; then 0 again.
    """

    def __init__(self, dataset: Sized, seed: int = 0, processes: int = 1, process: int = 0) -> None:
        super().__init__(dataset, processes, process, shuffle=True, seed=seed)  # type: ignore[arg-type]
        self.count = len(dataset)
        self.start = 0

    @classmethod
    def of(cls, dataset: Sized, seed: int, trainer: L.Trainer | None) -> "TrainSampler":
        """Return the sampler of this process.

        Args:
            dataset: The images.
            seed: The seed of the run.
            trainer: It knows the processes; None is one process.
        """
        return cls(dataset, seed, *_world(trainer))

    def order(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return the indices of an epoch for all processes, (total_size,)."""
        return np.resize(rng.permutation(self.count), self.total_size)

    def __iter__(self) -> Iterator[Draw]:
        """Yield what this process draws."""
        start, self.start = self.start, 0
        # The next one, where nobody announces it: a loop of the user's own must not see the same epoch again and again.
        epoch, self.epoch = self.epoch, self.epoch + 1
        order = self.order(np.random.default_rng((self.seed, epoch)))
        seeds = np.random.default_rng((self.seed, epoch, 1)).integers(_LARGEST_SEED, size=self.total_size)
        own = slice(self.rank + start * self.num_replicas, self.total_size, self.num_replicas)
        yield from map(Draw, order[own].tolist(), seeds[own].tolist())


class RareSampler(TrainSampler):
    """Draw as many images as there are in each epoch, with replacement and a probability for each.

    If W does not divide the number of images, up to W - 1 more are drawn.

    Args:
        dataset: The images.
        weights: How likely each is drawn, relative to the others, greater than 0.
        seed: The seed of the run, 0 or more.
        processes: W.
        process: The number of this one, 0..W-1.

    Attributes:
        replacement: True, as of torch's samplers: an epoch need not have every image.
        shares: The share of the draws that each image has, (N,).
    """

    replacement = True

    def __init__(
        self, dataset: Sized, weights: Sequence[float], seed: int = 0, processes: int = 1, process: int = 0
    ) -> None:
        super().__init__(dataset, seed, processes, process)
        relative = np.asarray(weights, dtype=np.float64)
        ends = np.cumsum(relative)
        self._ends, self.shares = ends / ends[-1], relative / ends[-1]

    @classmethod
    def of(  # type: ignore[override]  # each reads what it needs
        cls, labels: Sequence[Label], power: float, step: float | None, seed: int, trainer: L.Trainer | None
    ) -> "RareSampler":
        """Draw images with probability proportional to `n ** -power` of the n images of their value.

        Args:
            labels: The training images.
            power: 1 draws all values equally often.
            step: Width of what counts as one value; None counts exact values.
            seed: The seed of the run.
            trainer: It knows the processes; None is one process.
        """
        counts = count_values(labels, step)
        weights = [counts[value_of(label, step)] ** -power for label in labels]
        return cls(labels, weights, seed, *_world(trainer))

    def order(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return the indices that are drawn for all processes, (total_size,)."""
        return np.searchsorted(self._ends, rng.random(self.total_size), side="right")


class ShardSampler(TrainSampler):
    """Shuffle images that lie in shards: the shards, and then the images of some of them at a time.

    An epoch has every image once, as of any `TrainSampler`, but never needs more than `window` shards at once.

    Args:
        dataset: The images, in the order of the shards.
        sizes: How many images each shard has.
        window: How many shards are mixed at a time, 1 or more.
        seed: The seed of the run, 0 or more.
        processes: W.
        process: The number of this one, 0..W-1.
    """

    def __init__(
        self, dataset: Sized, sizes: Sequence[int], window: int, seed: int = 0, processes: int = 1, process: int = 0
    ) -> None:
        super().__init__(dataset, seed, processes, process)
        self._ends, self._window = np.cumsum([0, *sizes]), window

    @classmethod
    def among(cls, sizes: Sequence[int], window: int, seed: int, trainer: L.Trainer | None) -> "ShardSampler":
        """Return the sampler of this process; arguments as of the class.

        Args:
            sizes: How many images each shard has.
            window: How many shards are mixed at a time.
            seed: The seed of the run.
            trainer: It knows the processes; None is one process.
        """
        return cls(range(sum(sizes)), sizes, window, seed, *_world(trainer))

    def order(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return the indices of an epoch for all processes, (total_size,)."""
        shards = rng.permutation(len(self._ends) - 1)
        parts = [np.arange(self._ends[shard], self._ends[shard + 1]) for shard in shards]
        found = [
            rng.permutation(np.concatenate(parts[first : first + self._window]))
            for first in range(0, len(parts), self._window)
        ]
        return np.resize(np.concatenate(found), self.total_size)


class RangeSampler(DistributedSampler[int]):
    """Give the images of ranges in order, in a process that knows which ones are its own.

    Lightning leaves a `DistributedSampler` as it is.

    Args:
        dataset: The images.
        ranges: From the first image of each range up to the second; None is the end of the images.
    """

    def __init__(self, dataset: Sized, ranges: Sequence[tuple[int, int | None]]) -> None:
        super().__init__(dataset, 1, 0, shuffle=False)  # type: ignore[arg-type]
        self._ranges = [range(start, len(dataset) if end is None else end) for start, end in ranges]

    def __len__(self) -> int:
        return sum(map(len, self._ranges))

    def __iter__(self) -> Iterator[int]:
        """Yield the indices."""
        return chain.from_iterable(self._ranges)


def _world(trainer: L.Trainer | None) -> tuple[int, int]:
    """Return the number of processes and which this is."""
    return (trainer.world_size, trainer.global_rank) if trainer else (1, 0)

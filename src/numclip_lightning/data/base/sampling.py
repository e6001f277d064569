"""Drawing training images by how rare their numbers are, the same in one process and in several."""

import os
from collections.abc import Iterator, Sequence, Sized

import lightning as L
import numpy as np
from torch.utils.data import DistributedSampler

from numclip_lightning.data.base.labels import Label
from numclip_lightning.data.base.splits import count_values, value_of

__all__ = ["RareSampler"]


class RareSampler(DistributedSampler[int]):
    """Draw as many images as there are in each epoch, with replacement and a probability for each.

    All processes make one draw, which depends on the run's seed and the epoch alone, and each takes every W-th image of
    it. If W does not divide the number of images, up to W - 1 more are drawn. Lightning announces the epoch, and leaves
    a `DistributedSampler` as it is.

    Args:
        dataset: The images.
        weights: How likely each is drawn, relative to the others, greater than 0.
        processes: W.
        process: The number of this one, 0..W-1.

    Attributes:
        replacement: True, as of torch's samplers: an epoch need not have every image.
    """

    replacement = True

    def __init__(self, dataset: Sized, weights: Sequence[float], processes: int = 1, process: int = 0) -> None:
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        super().__init__(dataset, processes, process, shuffle=True, seed=seed)  # type: ignore[arg-type]
        shares = np.cumsum(np.asarray(weights, dtype=np.float64))
        self._ends = shares / shares[-1]

    @classmethod
    def of(cls, labels: Sequence[Label], power: float, step: float | None, trainer: L.Trainer | None) -> "RareSampler":
        """Draw images with probability proportional to `n ** -power` of the n images of their value.

        Args:
            labels: The training images.
            power: 1 draws all values equally often.
            step: Width of what counts as one value; None counts exact values.
            trainer: It knows the processes; None is one process.
        """
        counts = count_values(labels, step)
        weights = [counts[value_of(label, step)] ** -power for label in labels]
        return cls(labels, weights, *((trainer.world_size, trainer.global_rank) if trainer else ()))

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of this process."""
        rng = np.random.default_rng((self.seed, self.epoch))
        drawn = np.searchsorted(self._ends, rng.random(self.total_size), side="right")
        yield from drawn[self.rank : self.total_size : self.num_replicas].tolist()

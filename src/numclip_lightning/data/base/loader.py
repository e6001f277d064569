"""The loader of training batches, which a resumed fit enters where it was left."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

from numclip_lightning.data.base.sampling import TrainSampler
from numclip_lightning.data.base.types import Batch

__all__ = ["TrainLoader"]


class TrainLoader(DataLoader[Batch]):
    """torch's loader with the state that Lightning keeps in checkpoints: how many batches of the epoch it has given.

    Batches are pure functions of seed, epoch and place (`TrainSampler`), so that this number is all there is to know,
    for any number of loading processes. torchdata's `StatefulDataLoader` keeps the generators of its workers, which
    would not help a run with another number of them.
    """

    _given = 0
    _start = 0

    def state_dict(self) -> dict[str, Any]:
        """Return how many batches of this epoch were given."""
        return {"batches": self._given}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Leave out as many batches of the next epoch as were given before."""
        # A checkpoint between two epochs has a whole one.
        self._start = state_dict["batches"] % max(len(self), 1)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Yield the batches that are left of an epoch.

        The sampler is asked with the first batch and not before: Lightning announces the epoch in between.
        """
        start, self._start = self._start, 0
        self._given = start
        sampler = self.sampler
        if isinstance(sampler, TrainSampler):
            sampler.start = start * (self.batch_size or 1)
            start = 0
        for batch in islice(super().__iter__(), start, None):
            self._given += 1
            yield batch

"""Samples whose randomness is that of their place in an epoch."""

from torch.utils.data import Dataset

from numclip_lightning.data.base.sampling import Draw
from numclip_lightning.data.base.types import Batch
from numclip_lightning.seeds import seeded

__all__ = ["SeededDataset"]


class SeededDataset(Dataset[Batch]):
    """A dataset whose samples are drawn with the seed of their place in the epoch, whichever process loads them.

    An index has no place in an epoch: its sample is drawn from the generators as they are, which whoever goes through
    the images in an order of their own has seeded (`methods.base.samples.encode_share`), or not (Lightning's
    `overfit_batches`).

    Args:
        dataset: What it reads; its randomness may come from Python, NumPy or torch.
    """

    def __init__(self, dataset: Dataset[Batch]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, draw: Draw | int) -> Batch:
        """Return the sample of a draw, or of an index."""
        if not isinstance(draw, Draw):
            return self.dataset[draw]
        with seeded(draw.seed):
            return self.dataset[draw.index]

    @classmethod
    def around(cls, dataset: Dataset[Batch]) -> Dataset[Batch]:
        """Return a dataset that takes draws: itself if it does so by itself, by its attribute `takes_draws`."""
        return dataset if getattr(dataset, "takes_draws", False) else cls(dataset)

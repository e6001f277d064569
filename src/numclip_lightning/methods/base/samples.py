"""Image features with their targets, gathered from batches and processes."""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.types import Batch, Prediction
from numclip_lightning.progress import watched
from numclip_lightning.seeds import run_seed, seed_of, seeded

__all__ = ["Samples", "encode_share", "encode_training", "features_of", "gather_by_index"]


class Samples(NamedTuple):
    """Images of a split.

    Attributes:
        index: Index of each image in its split, int64 (N,).
        features: Features of the image tower, (N, ...), not normalised.
        target: The true number, (N,).
    """

    index: Tensor  # type: ignore[assignment]  # hides `tuple.index`
    features: Tensor
    target: Tensor

    @property
    def num_bytes(self) -> int:
        """Memory of the features in bytes."""
        return self.features.numel() * self.features.element_size()


Rows = TypeVar("Rows", Samples, Prediction)


def features_of(method: OrdinalMethod, batch: Batch) -> Tensor:
    """Return the features (B, ...) of a batch, which may contain them already."""
    return batch["features"] if "features" in batch else method.encode_images(batch["image"])


class _Share(Dataset[Batch]):
    """Some samples of a dataset, each drawn with the seed of its index, whichever process loads it."""

    def __init__(self, dataset: Dataset[Batch], rows: Sequence[int], seed: int, view: int) -> None:
        self.dataset, self.rows, self.place = dataset, rows, (seed, view)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Batch:
        row = self.rows[number]
        with seeded(seed_of(*self.place, row)):
            return self.dataset[row]


def encode_share(
    method: OrdinalMethod,
    dataset: Dataset[Batch],
    batch_size: int,
    num_workers: int,
    *,
    rows: Sequence[int] | None = None,
    view: int = 0,
) -> Generator[Samples, None, None]:
    """Encode this process's share of a split, without gradients, on the method's device and in the run's precision.

    The image tower is frozen, so that it is in evaluation already.

    Args:
        method: The method whose image tower encodes the images; its trainer is running.
        dataset: The samples of the split.
        batch_size: Images at a time.
        num_workers: Loading processes. What is random about an image depends on its place in the split, the view and
            the seed of the run alone.
        rows: The places that are encoded; None is all of them.
        view: Which of several passes this is, 0 or more: each draws other augmentations.

    Yields:
        The samples of one batch, in main memory; at least one batch in every process.
    """
    rows = range(len(dataset)) if rows is None else rows  # type: ignore[arg-type]
    first, step = method.trainer.global_rank % len(rows), method.trainer.world_size
    share = _Share(dataset, rows[first::step], run_seed(), view)
    # Validation loaders are made in inference mode, whose tensors training could not use.
    with torch.inference_mode(mode=False), torch.no_grad():
        loader = DataLoader(share, batch_size=batch_size, num_workers=num_workers)
        for batch in watched(loader, len(loader), "encoding images", "batch"):
            moved = {key: batch[key].to(method.device) for key in ("features", "image") if key in batch}
            moved = method.trainer.precision_plugin.convert_input(moved)
            with method.trainer.precision_plugin.forward_context():
                features = features_of(method, moved)
            yield Samples(batch["index"], features.cpu(), batch["target"])


def encode_training(method: OrdinalMethod) -> Samples:
    """Encode the training images of a fit that has begun, each once, by all processes together.

    Neither the order of the batches nor their targets depend on this pass.
    """
    loader: Any = method.trainer.train_dataloader
    with isolate_rng():
        own = list(encode_share(method, loader.dataset, loader.batch_size, loader.num_workers))
    return gather_by_index(own)


def gather_by_index(parts: Sequence[Rows]) -> Rows:
    """Join batches of all processes: every image once, in the order of its index, in main memory.

    Args:
        parts: The batches of this process, which may be none if another process has some.
    """
    parts = [type(part)(*(tensor.detach().cpu() for tensor in part)) for part in parts]
    if dist.is_available() and dist.is_initialized():
        shares: list[list[Rows]] = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(shares, parts)
        parts = [part for share in shares for part in share]
    joined = [torch.cat(tensors) for tensors in zip(*parts, strict=True)]
    # A sampler repeats images so that every process has the same number; the last one counts.
    rows = {index: row for row, index in enumerate(joined[0].tolist())}
    order = torch.tensor([rows[index] for index in sorted(rows)])
    return type(parts[0])(*(tensor[order] for tensor in joined))

"""Images that a prediction has skipped because they can't be read: which, why, and how many."""

import csv
from collections.abc import Iterable
from pathlib import Path

from numclip_lightning.data.base.dataset import OrdinalDataset
from numclip_lightning.errors import DataError

__all__ = ["Skipped"]

_SHOWN = 10


class Skipped:
    """The images that were skipped so far, each with its reason.

    Args:
        found: The path and the reason of each image, by its index.
    """

    def __init__(self, found: dict[int, tuple[str, str]] | None = None) -> None:
        self._found = dict(found or {})

    @classmethod
    def joined(cls, parts: Iterable["Skipped"]) -> "Skipped":
        """Return the images of all processes, each once."""
        return cls({index: entry for part in parts for index, entry in part._found.items()})

    def __len__(self) -> int:
        return len(self._found)

    def add(self, dataset: OrdinalDataset, indices: Iterable[int]) -> dict[int, tuple[str, str]]:
        """Add images, and return them; each is opened again, for the reason.

        Args:
            dataset: The images that are predicted.
            indices: The indices of the unreadable ones.
        """
        found = {index: (dataset.labels[index].path, dataset.why_unreadable(index)) for index in indices}
        self._found.update(found)
        return found

    def refuse_many(self, total: int, most: float) -> None:
        """Stop as soon as more images are skipped than may be.

        Args:
            total: How many images there are.
            most: The largest share that may be skipped, `data.max_bad_fraction`.

        Raises:
            DataError: If there are more; the first are listed.
        """
        if len(self) <= most * total:
            return
        said = f"{len(self)} of {total} images can't be read so far, more than data.max_bad_fraction={most:g} allows"
        lines = [f"  {path}: {reason}" for path, reason in self._entries()[:_SHOWN]]
        raise DataError("\n".join([f"{said}; restore them, or allow more:", *lines]))

    def write(self, beside: Path) -> None:
        """Write the list of all skipped images beside a file of predictions; remove an earlier list if there are none.

        Args:
            beside: The file of predictions, such as `out.csv`: the list is `out.skipped.csv`.
        """
        place = _list_of(beside)
        if not self._found:
            place.unlink(missing_ok=True)
            return
        with place.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            csv.writer(file).writerows([("path", "reason"), *self._entries()])

    def message(self, beside: Path, predicted: int) -> str:
        """Return how many were skipped, and the first ten.

        Args:
            beside: The file of predictions.
            predicted: How many images were predicted.
        """
        lines = [f"  {path}: {reason}" for path, reason in self._entries()[:_SHOWN]]
        more = [f"  and {len(self) - _SHOWN} more"] if len(self) > _SHOWN else []
        return "\n".join([
            f"{len(self)} of {len(self) + predicted} images can't be read and were skipped; {predicted} are predicted "
            f"in {beside}, the others are listed in {_list_of(beside)}:",
            *lines,
            *more,
        ])  # fmt: skip

    def _entries(self) -> list[tuple[str, str]]:
        return [entry for _, entry in sorted(self._found.items())]


def _list_of(beside: Path) -> Path:
    return beside.with_name(f"{beside.stem}.skipped.csv")

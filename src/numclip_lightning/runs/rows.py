"""Rows of predictions as text, and the file that they are written to while they are computed."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch

from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.errors import RunError, format_number
from numclip_lightning.methods.base.types import Prediction
from numclip_lightning.runs.durable import replacing
from numclip_lightning.scale import OrdinalScale

__all__ = ["Layout", "Row", "RowsFile", "columns", "float32_text", "is_finite", "rows_of", "shares_of"]

# The index of an image in its dataset, and the cells of its row.
Row = tuple[int, list[str]]


def float32_text(number: np.float32) -> str:
    """Write a computed number with the digits that float32 has: 1631484.1 and not 1.63148e+06 or 1631484.125."""
    if 1e-4 <= abs(number) < 1e16:
        # `str` writes float32 as 1.6314841e+06 from a million on.
        return np.format_float_positional(number, unique=True, trim="-")
    return str(number).removesuffix(".0")


class Layout(NamedTuple):
    """Which columns a file of predictions has besides those that every file has.

    Attributes:
        targets: Whether the images have true numbers.
        groups: Whether the list has groups, such as patients.
        select_on: Whether the checkpoint was selected on test images.
        spread: Whether the method gives a distribution.
        attributes: What else is known of the images, such as `("sex",)`.
        shares: The shares of the quantiles, if the method gives a distribution over values.
    """

    targets: bool
    groups: bool = False
    select_on: bool = False
    spread: bool = False
    attributes: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()


def columns(scale: OrdinalScale, layout: Layout) -> list[str]:
    """Return the heading of a file of predictions.

    Args:
        scale: The scale of the method.
        layout: Which columns it has.
    """
    truth, error = (["target", "true_phrase"], ["error"]) if layout.targets else ([], [])
    probabilities = [f"p({phrase})" for phrase in scale.phrases]
    known = ["group"] * layout.groups + [f"attribute_{name}" for name in layout.attributes]
    spread = ["spread"] * layout.spread + [f"q({share:g})" for share in layout.shares]
    select_on = ["select_on"] * layout.select_on
    return ["path", *truth, "value", *error, "phrase", "most_probable", *probabilities, *spread, *known, *select_on]


def shares_of(method: Any, batches: Iterable[Prediction]) -> tuple[float, ...]:
    """Return the shares of the quantiles that predictions have; none where no distribution over values is known.

    Args:
        method: The method that has made them.
        batches: The predictions.
    """
    return tuple(method.shares) if any(batch.quantiles.shape[1] for batch in batches) else ()


def rows_of(batch: Prediction, labels: LabelTable, scale: OrdinalScale, layout: Layout) -> Iterable[Row]:
    """Yield the rows of a batch, with the cells that `columns` names.

    Args:
        batch: The predictions, on any device.
        labels: The entries of the split.
        scale: The scale of the method.
        layout: As in `columns`.
    """
    # float32, as numbers in half precision have no short text of their own.
    values, probabilities, spreads, quantiles = (
        tensor.float().cpu().numpy() for tensor in (batch.value, batch.probabilities, batch.spread, batch.quantiles)
    )
    phrases, of_value = scale.phrases, scale.level_at(batch.value.cpu()).tolist()
    indices: list[int] = batch.index.tolist()
    for i, (index, most_probable, label) in enumerate(
        zip(indices, batch.level.tolist(), _entries(labels, indices), strict=True)
    ):
        value = float32_text(values[i])
        finite = bool(np.isfinite(values[i]))
        row = [value, phrases[of_value[i]] if finite else "", phrases[most_probable]]
        if layout.targets:
            target = label.target
            row[1:1] = [f"{float(value) - target:.9g}"]
            row[:0] = [format_number(target), phrases[int(scale.to_level(torch.tensor(target, dtype=torch.float64)))]]
        row += map(float32_text, probabilities[i])
        row += [float32_text(spreads[i]) if np.isfinite(spreads[i]) else ""] * layout.spread
        row += [float32_text(quantiles[i, place]) for place in range(len(layout.shares))]
        attributes = dict(label.attributes)
        row += [label.group or ""] * layout.groups + [attributes.get(name, "") for name in layout.attributes]
        row += ["test"] * layout.select_on
        yield index, [label.path, *row]


def _entries(labels: LabelTable, indices: list[int]) -> Iterable[Label]:
    """Return the entries of a batch: at once where they are neighbours, since long lists make them from columns."""
    if indices and indices == list(range(indices[0], indices[0] + len(indices))):
        return labels[indices[0] : indices[0] + len(indices)]
    return [labels[index] for index in indices]


def is_finite(row: Sequence[str], heading: Sequence[str]) -> bool:
    """Return whether the value of a row is a finite number."""
    return math.isfinite(float(row[heading.index("value")]))


class RowsFile:
    """A CSV file that grows beside its final place, so that an interrupted run leaves the rows of every finished batch.

    Each process has a file of its own. Names of files that are not UTF-8 are written as the bytes that they are
    (`surrogateescape`), and can be read again the same way.

    Args:
        path: The final place; an earlier file there stays until `finish`.
        heading: The names of the columns.
        process: The number of the process.
    """

    def __init__(self, path: Path, heading: Sequence[str], process: int) -> None:
        self.path = path
        self.heading = list(heading)
        self.part = path.with_name(f"{path.name}.part{process}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = _open(self.part, "w")
        csv.writer(self._file).writerow(["index", *heading])

    def append(self, rows: Iterable[Row]) -> None:
        """Write the rows of a batch, and hand them to the operating system at once."""
        csv.writer(self._file).writerows([index, *cells] for index, cells in rows)
        self._file.flush()

    def read(self) -> list[Row]:
        """Close the file and return its rows; a last row that a full disk has cut short is left out."""
        with suppress(OSError):
            self._file.close()
        with _open(self.part, "r") as file:
            # The end of a row, which no quoted line break has.
            text = file.read().rpartition("\r\n")[0]
        lines = csv.reader(io.StringIO(text, newline=""))
        next(lines, None)
        return [(int(index), cells) for index, *cells in lines]

    def finish(self, rows: Iterable[Row]) -> int:
        """Write rows to the final place, in the order of their indices, each once; return how many.

        The file takes its place in one step, so that there is never half of it.

        Raises:
            RunError: If it can't be written, as on a full disk; the rows are still where they were.
        """
        ordered = sorted(dict(rows).items())
        try:
            with replacing(self.path) as whole, _open(whole, "w") as file:
                csv.writer(file).writerows([self.heading, *(cells for _, cells in ordered)])
        except OSError as error:
            raise RunError(
                f"{self.path} can't be written: {error.strerror}. Its {len(ordered)} rows are kept in "
                f"{self.path.name}.part* beside it, with the number of each image in front."
            ) from error
        return len(ordered)

    def discard(self) -> None:
        """Close the file and remove it, when its rows are in the final place."""
        self._file.close()
        self.part.unlink(missing_ok=True)


def _open(path: Path, mode: str) -> IO[str]:
    return path.open(mode, encoding="utf-8", errors="surrogateescape", newline="")

"""Which training images are kept: a few of each value, fewer of the frequent values, or a long tail."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from numclip_lightning.data.base.arguments import require_fraction, require_least
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.splits import few_shots, long_tail, shift_values
from numclip_lightning.errors import format_number, refuse

__all__ = ["Reduction"]

_log = logging.getLogger(__name__)


class Reduction(NamedTuple):
    """The arguments of a datamodule that choose among the training images; see `OrdinalDataModule`."""

    num_shots: int = 0
    shift_values: int = 0
    shift_factor: float = 1.0
    long_tail: float = 1.0
    value_step: float | None = None

    @property
    def asked(self) -> dict[str, float]:
        """Those that are switched on, with their values."""
        off = {"num_shots": 0, "shift_values": 0, "long_tail": 1}
        return {name: getattr(self, name) for name, value in off.items() if getattr(self, name) != value}

    def check(self) -> None:
        """Raise ConfigError if an argument is out of its range, or two of them are given."""
        require_least("num_shots", self.num_shots, 0)
        require_least("shift_values", self.shift_values, 0)
        if self.shift_factor != 1:
            require_fraction("shift_factor", self.shift_factor)
        if not 1 <= self.long_tail < float("inf"):
            refuse(f"long_tail={self.long_tail} must be a number of at least 1; 1 changes nothing")
        if (self.shift_values > 0) != (self.shift_factor < 1):
            refuse(
                f"shift_values={self.shift_values} and shift_factor={self.shift_factor} work together alone; give "
                "both, such as shift_values=10 and shift_factor=0.1, or neither"
            )
        if len(self.asked) > 1:
            given = " and ".join(f"{name}={value}" for name, value in self.asked.items())
            refuse(f"{given} each choose the training images; give one of them alone")

    def finds_no_value_twice(self, train: Sequence[Label]) -> bool:
        """Return whether it counts images of equal value, and all values differ."""
        values = {label.target for label in train}
        return bool(self.asked) and self.value_step is None and len(values) == len(train)

    def apply(self, train: Sequence[Label], seed: int) -> LabelTable:
        """Return the images that are kept, in their order; warn where hardly a value repeats."""
        whole = train
        if self.num_shots:
            train = few_shots(train, self.num_shots, seed, self.value_step)
        if self.shift_values:
            train = shift_values(train, self.shift_values, self.shift_factor, seed, self.value_step)
        if self.long_tail > 1:
            train = long_tail(train, self.long_tail, seed, self.value_step)
        values = len({label.target for label in whole})
        if self.asked and self.value_step is None and len(whole) > 1 and values > len(whole) / 2:
            name, value = next(iter(self.asked.items()))
            _log.warning(
                "%s=%s counts images of equal value, but %d training images have %d values, so that hardly any repeat: "
                "%d images are kept; set data.value_step to the width of what counts as one value, such as 0.5",
                name, value, len(whole), values, len(train),
            )  # fmt: skip
        return LabelTable(train)

    def describe(self) -> list[str]:
        """Describe what is switched on, and always the shots, in words for a summary."""
        parts = [f"shots {self.num_shots}"]
        if self.shift_values:
            parts.append(f"the {self.shift_values} most frequent values cut to {format_number(self.shift_factor)}")
        if self.long_tail > 1:
            parts.append(f"long tail {format_number(self.long_tail)}")
        return parts

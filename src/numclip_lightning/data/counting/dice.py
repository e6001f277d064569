"""Random whole numbers that are the same on every machine."""

import numpy as np
import numpy.typing as npt

__all__ = ["Dice"]


class Dice:
    """Whole numbers in given ranges from a block of raw 64-bit numbers.

    Args:
        block: The raw numbers, in the order in which they are used.
    """

    def __init__(self, block: npt.NDArray[np.uint64]) -> None:
        # The upper half of each number: 32 bits times a span of less than 2**31 stay within 64 bits.
        self._numbers: list[int] = (block >> np.uint64(32)).tolist()
        self._next = 0

    def roll(self, low: int, high: int) -> int:
        """Draw a number from `low` to `high`, both included."""
        number = self._numbers[self._next]
        self._next += 1
        return low + (number * (high - low + 1) >> 32)

    def chance(self, percent: int) -> bool:
        """Draw an event of a probability in percent."""
        return self.roll(1, 100) <= percent

    def roll_array(self, highest: npt.NDArray[np.int64], number: int) -> npt.NDArray[np.int64]:
        """Draw numbers from 0 to `highest` (N, 1, 2), `number` for each: (N, number, 2)."""
        size = 2 * number * len(highest)
        drawn = np.array(self._numbers[self._next : self._next + size], dtype=np.int64).reshape(len(highest), number, 2)
        self._next += size
        return drawn * (highest + 1) >> 32

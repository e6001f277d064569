"""Randomness by its place in a run: seeds that depend on where a run is, not on what was drawn before."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L
import numpy as np
import torch

__all__ = ["SEED_VARIABLE", "run_seed", "seed_libraries", "seed_of", "seeded"]

SEED_VARIABLE = "PL_GLOBAL_SEED"
"""Where Lightning's `seed_everything` keeps the seed of the run."""


def run_seed(trainer: L.Trainer | None = None, known: int | None = None) -> int:
    """Return the seed of the run: that of `seed_everything`, else the one torch has started with, which is random.

    Args:
        trainer: Its first process decides for all; None is one process.
        known: What it was before, if `seed_everything` was not called.
    """
    if (given := os.environ.get(SEED_VARIABLE)) is not None:
        return int(given)
    if known is not None:
        return known
    drawn = torch.initial_seed() % 2**32
    return drawn if trainer is None else int(trainer.strategy.broadcast(drawn))


def seed_of(*place: int) -> int:
    """Return a seed for a place, such as (seed of the run, epoch, batch): other places have unrelated ones.

    Args:
        place: Numbers, 0 or more.

    Returns:
        0..2**62 - 1.
    """
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> np.uint64(2))


def seed_libraries(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch, those of all GPUs too.

    Args:
        seed: 0..2**62 - 1.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # the generator that the code of others draws from
    torch.manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators of the main memory, and put them back at the end as they were.

    Args:
        seed: 0..2**62 - 1.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    # Not `torch.manual_seed`, which would seed the GPUs too, and not put them back.
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])

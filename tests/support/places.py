"""Paths of the repository, and of the data that may be beside it."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / "configs"
SHARED = REPOSITORY.parent / "shared"
DATALISTS = SHARED / "data" / "datalists"

"""Paths of the repository, and of the data that may be beside it."""

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / "configs"
SHARED = REPOSITORY.parent / "shared"
DATALISTS = SHARED / "data" / "datalists"

needs_lists = pytest.mark.skipif(not DATALISTS.is_dir(), reason="the public label lists are not beside the repository")

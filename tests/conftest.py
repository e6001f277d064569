"""What all tests share. Datasets come from `fake_data`, models from `tiny_clip`, the command from `command`."""

import logging
from collections.abc import Iterator
from pathlib import Path

# Imported here: its log writes to what is the standard error then, which in a test is closed afterwards.
import lightning.pytorch  # noqa: F401
import pytest
import torch

from support.command import Numclip, make_data
from support.tiny_clip import register_tiny_clips


@pytest.fixture(scope="session", autouse=True)
def tiny_clips() -> None:
    """Make the tiny CLIPs known to open_clip."""
    register_tiny_clips()


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Leave the other cores to the other workers; tiny models are no faster with more threads."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed() -> None:
    """Make every test draw the same numbers, alone or among others."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def fresh_log() -> Iterator[None]:
    """Forget the command's log handler, which would go on writing to a finished test's standard error."""
    yield
    logging.getLogger("numclip_lightning").handlers.clear()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and the lists `train.txt`, `val.txt` and `test.txt`; not to be written to."""
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def numclip(data: Path, tmp_path: Path) -> Numclip:
    """The command, its runs in this test's folder."""
    return Numclip(data, tmp_path / "runs")


@pytest.fixture(scope="session")
def fitted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a fit of two epochs, tested afterwards; not to be written to."""
    return Numclip(data, tmp_path_factory.mktemp("fitted"))("fit", "--test_after_fit=true")

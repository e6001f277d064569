"""What the terminal shows: the project's own log lines, no noise of others, and errors for people."""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities import rank_zero_only

from numclip_lightning.errors import NumClipError

__all__ = ["own_words", "speak", "told"]

# What Lightning tells everybody and nobody here can mend.
_UNMENDABLE = (
    # Lightning 2.6 with torch 2.14: a deprecated check inside Lightning.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    # Repeated samples are counted once here, which the advice to test on one device does not know.
    r"Using `DistributedSampler` with the dataloaders",
    # Frozen parts are meant to be in evaluation.
    r"Found \d+ module\(s\) in eval mode at the start of training",
    # A test neither keeps checkpoints nor needs the callback that does.
    r"Be aware that when using `ckpt_path`, callbacks used to create the checkpoint",
)


def _is_no_tip(record: logging.LogRecord) -> bool:
    """Keep Lightning's advertisements for its own services from the terminal."""
    return "Tip: For seamless cloud" not in record.getMessage()


def speak() -> None:
    """Let the project's own log lines reach the terminal, and keep what users can't mend away from it."""
    log = logging.getLogger("numclip_lightning")
    if not log.handlers:
        log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO if rank_zero_only.rank == 0 else logging.WARNING)  # type: ignore[attr-defined]
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_tip)
    for message in _UNMENDABLE:
        warnings.filterwarnings("ignore", message)


def told(error: Exception) -> str:
    """Return an error's message; one from a loading process arrives wrapped in that process's traceback."""
    return re.split(r"numclip_lightning\.errors\.\w+: ", str(error))[-1].strip()


@contextmanager
def own_words() -> Iterator[None]:
    """Raise what a constructor refused as it said it, without what jsonargparse wraps around it."""
    try:
        yield
    except ValueError as error:
        cause: BaseException | None = error
        while cause and not isinstance(cause, NumClipError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from None

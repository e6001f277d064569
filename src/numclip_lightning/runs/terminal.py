"""Messages in the terminal: this package's log, warnings that users can't fix, and errors without a traceback."""

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from numclip_lightning.errors import ConfigError, NumClipError
from numclip_lightning.runs.shorten import shorten

__all__ = ["configure_logging", "message_of", "unwrap_errors"]

# Warnings of Lightning that users can't fix.
_HIDDEN = (
    # Lightning 2.6 with torch 2.14: a deprecated check inside Lightning.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    # It advises to test on one device; here the metrics count repeated samples once.
    r"Using `DistributedSampler` with the dataloaders",
    # Frozen parts are meant to be in evaluation mode.
    r"Found \d+ module\(s\) in eval mode at the start of training",
    # Methods add levels to the batches of any datamodule, on purpose.
    r"You have overridden `on_before_batch_transfer` in `LightningModule`",
    # A test keeps no checkpoints and does not need the callback that does.
    r"Be aware that when using `ckpt_path`, callbacks used to create the checkpoint",
    # A checkpoint has the averages of Lightning's own callback, which is needed for the fit alone.
    r"You're using the WeightAveraging callback, but loading a checkpoint outside the 'fit' stage",
)


# Lightning's advertisements for its own services, and that ours stands in for its summary.
_NO_NEWS = ("Tip: For seamless cloud", "Trainer already configured with model summary callbacks")


def _is_news(record: logging.LogRecord) -> bool:
    return not any(text in record.getMessage() for text in _NO_NEWS)


def configure_logging() -> None:
    """Set up logging: show this package's messages, hide warnings that users can't fix."""
    log = logging.getLogger("numclip_lightning")
    if not log.handlers:
        log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO if _is_first_process() else logging.WARNING)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_news)
    for message in _HIDDEN:
        warnings.filterwarnings("ignore", message)


def _is_first_process() -> bool:
    """Return whether this is the only process, or the first of several; verbs without Lightning have one."""
    if "lightning" not in sys.modules:
        return True
    from lightning.pytorch.utilities import rank_zero_only

    return bool(rank_zero_only.rank == 0)  # type: ignore[attr-defined]


def message_of(error: Exception) -> str:
    """Return the message of an error, without the traceback of a loading process that may be around it."""
    return re.split(r"numclip_lightning\.errors\.\w+: ", str(error))[-1].strip()


@contextmanager
def unwrap_errors() -> Iterator[None]:
    """Raise the error of a constructor itself in place of the one that jsonargparse wraps around it."""
    try:
        yield
    except ValueError as error:
        cause: BaseException | None = error
        while cause and not isinstance(cause, NumClipError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from None
        if "class_path 'lightning." in str(error):
            # A logger or a callback of Lightning, whose library is missing or whose arguments are wrong.
            raise ConfigError(f"trainer: {shorten(str(error))}") from error
        raise

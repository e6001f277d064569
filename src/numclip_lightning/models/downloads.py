"""Downloads of weights and configurations: no waiting without a network, and plain words for every failure."""

import logging
import ssl
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from huggingface_hub import constants as hub_constants

from numclip_lightning.errors import BackboneError

__all__ = ["fetching", "short_message", "tidy_log", "without_retries"]


def short_message(error: Exception) -> str:
    """Return the type and the message of an error, at most 300 characters."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300)


@contextmanager
def fetching(what: str) -> Iterator[None]:
    """Turn any failed download into a BackboneError that explains how to work without the network.

    Args:
        what: What is fetched, for the message.
    """
    try:
        with tidy_log(), without_retries():
            yield
    except Exception as error:  # the hub's client has dozens of errors, and open_clip wraps them in its own
        raise BackboneError(
            f"{what} could not be fetched from {hub_constants.ENDPOINT}: {short_message(error)}; without network, "
            "fetch the weights on another machine and give the file as `pretrained`, or a saved model as "
            "backbone=local-dir:PATH"
        ) from error


@contextmanager
def without_retries() -> Iterator[None]:
    """Use only the local cache if the hub can't be reached: its client would retry for a minute."""
    before = hub_constants.HF_HUB_OFFLINE
    hub_constants.HF_HUB_OFFLINE = before or not _answers(hub_constants.ENDPOINT)
    try:
        yield
    finally:
        hub_constants.HF_HUB_OFFLINE = before


def _answers(address: str) -> bool:
    try:
        urlopen(Request(address, method="HEAD"), timeout=10).close()
    except HTTPError:
        return True
    except OSError as error:
        # Certificates are for the hub's own client to judge.
        return isinstance(getattr(error, "reason", None), ssl.SSLError)
    return True


@contextmanager
def tidy_log() -> Iterator[None]:
    """Limit open_clip's log while it works.

    open_clip logs to the root logger, which would set up a handler there and make every later record appear twice. It
    also warns of "no pretrained weights" for every model whose weights are loaded in a second step; `load_clip` warns
    if it is true.
    """

    def is_relevant(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("No pretrained weights loaded")

    root = logging.getLogger()
    handler = logging.lastResort if not root.handlers else None
    root.addFilter(is_relevant)
    if handler is not None:
        root.addHandler(handler)
    try:
        yield
    finally:
        root.removeFilter(is_relevant)
        if handler is not None:
            root.removeHandler(handler)

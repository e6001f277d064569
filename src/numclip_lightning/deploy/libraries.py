"""Optional libraries of exports: importing them, keeping them quiet, and saying what they could not do."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from io import StringIO
from typing import Any

from numclip_lightning.errors import ConfigError

__all__ = ["explained", "needs", "quiet"]

_TELEMETRY = "ORT_DISABLE_TELEMETRY"


def needs(extra: str, *modules: str) -> list[Any]:
    """Import optional libraries.

    Args:
        extra: The extra that installs them.
        modules: Their names.

    Raises:
        ConfigError: If one is not installed; the message says how to install it.
    """
    try:
        with _unreported():
            return [import_module(module) for module in modules]
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"this needs {error.name}; install it with pip install 'numclip-lightning[{extra}]'."
        ) from error


@contextmanager
def _unreported() -> Iterator[None]:
    """Import without reports to makers: onnxruntime sends them, and leaves a file, unless this variable is set."""
    known = os.environ.get(_TELEMETRY)
    os.environ[_TELEMETRY] = "1"
    try:
        yield
    finally:
        if known is None:
            del os.environ[_TELEMETRY]
        else:
            os.environ[_TELEMETRY] = known


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Say in a sentence why a model can't be exported in a format."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # exporters have dozens of errors
        reason = " ".join(str(error).split())[:400]
        raise ConfigError(f"the model can't be exported as {name}: {type(error).__name__}: {reason}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the reports of exporters to themselves; what goes wrong is raised."""
    logs = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx", "root")]
    levels = [log.level for log in logs]
    try:
        for log in logs:
            log.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)

"""How a run ends: stopped, refused by the trainer, or with results that can't be used; each in words, with a code."""

import re
import shlex
import signal
import sys
import traceback
from pathlib import Path

import torch.distributed as dist
from lightning.pytorch.utilities.exceptions import SIGTERMException

from numclip_lightning.errors import ConfigError, NumClipError, RunError
from numclip_lightning.runs.durable import WriteError
from numclip_lightning.runs.stopping import StoppedError

__all__ = ["called_program", "explain", "kept_files"]

_INTERRUPTED = 128 + signal.SIGINT
_TERMINATED = 128 + signal.SIGTERM

# What gloo and NCCL raise where another process is gone; gloo's have no class of their own.
_LOST = re.compile(r"Connection (closed|reset) by peer|Broken pipe|remote process exited|Connection was likely closed")

# Exceptions by which Lightning and the libraries below it refuse arguments.
_REFUSALS = (AttributeError, ImportError, KeyError, RuntimeError, TypeError, ValueError)


def explain(error: BaseException, verb: str, folder: Path) -> NumClipError | None:
    """Return the message for what ended a run; None if it is an error of the program, whose traceback is needed.

    Args:
        error: What Lightning's trainer has raised.
        verb: `fit`, `validate`, `test` or `predict`.
        folder: The run folder.
    """
    if isinstance(error, StoppedError):
        queued = "\nSLURM was asked to start the job again; it goes on by itself." if error.queued else ""
        kept = kept_files(folder, error.checkpoint)
        return RunError(f"the {verb} was stopped by {error.by} before its end.{queued}\n{kept}", error.exit_code)
    if isinstance(error, WriteError) and verb == "fit":
        return RunError(f"{error}\n{kept_files(folder)}", error.exit_code)
    if isinstance(error, NumClipError):
        return None
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return _stopped(error, verb, folder)
    if _is_lost(error):
        kept = f"\n{kept_files(folder)}" if verb == "fit" else ""
        return RunError(
            f"process {dist.get_rank()} of {dist.get_world_size()} ends the {verb} because another one has ended. Why, "
            f"that one says above, or in its own log; a system that lacks memory kills it without a word.{kept}"
        )
    if isinstance(error, _REFUSALS) and (part := _refused_by(error)):
        reason = " ".join(str(error).split()) or type(error).__name__
        if part == "lr_finder":
            reason = "the parts of a method have rates of their own; leave it out and set model.learning_rates."
        return ConfigError(f"trainer: {part} refuses: {reason}")
    return None


def kept_files(folder: Path, last: Path | None = None) -> str:
    """Return what a fit has kept so far, for messages: a sentence, with the command that resumes it.

    Args:
        folder: The run folder.
        last: The last checkpoint; None is `last.ckpt` in the folder.
    """
    last = last or folder / "checkpoints" / "last.ckpt"
    if not last.is_file():
        return "No epoch was finished, and no checkpoint is kept."
    return f"What it had reached is kept in {folder}. To resume it:\n  {_resume_command(folder, last)}"


def _resume_command(folder: Path, last: Path) -> str:
    """Return the exact command that resumes a fit from its last checkpoint."""
    words = ["fit", "--config", str(folder / "config.yaml"), "--ckpt_path", str(last)]
    return shlex.join([*called_program(), *words])


def called_program() -> list[str]:
    """Return the words that call this program, as it was called."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return [sys.executable, "-m", "numclip_lightning"]
    return [sys.argv[0]] if called.stem == "numclip" else ["numclip"]


def _stopped(error: BaseException, verb: str, folder: Path) -> NumClipError | None:
    """Explain Ctrl-C and SIGTERM: Lightning ends both with an exit, the second one with code 0."""
    # Lightning's own exit after Ctrl-C is raised while that is handled.
    by_user = isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt)
    if not by_user and not isinstance(error, SIGTERMException):
        return None
    what, code = ("by Ctrl-C", _INTERRUPTED) if by_user else ("by SIGTERM", _TERMINATED)
    kept = f"\n{kept_files(folder)}" if verb == "fit" else ""
    return RunError(f"the {verb} was stopped {what} before its end.{kept}", code)


def _is_lost(error: BaseException) -> bool:
    """Return whether a process of several has failed only because it no longer reaches another one."""
    several = dist.is_available() and dist.is_initialized()
    return several and isinstance(error, RuntimeError) and bool(_LOST.search(str(error)))


def _refused_by(error: BaseException) -> str:
    """Return the class or module of Lightning that has raised an error; empty if something else has."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return ""
    innermost = frames[-1][0]
    module = str(innermost.f_globals.get("__name__", ""))
    if module.split(".")[0] not in ("lightning", "lightning_utilities", "pytorch_lightning"):
        return ""
    owner = innermost.f_locals.get("self")
    return type(owner).__name__ if owner is not None else module.rpartition(".")[2]

"""The front door of `numclip`: a table of verbs, each imported when it is called."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import NamedTuple, NoReturn

from numclip_lightning import __version__
from numclip_lightning.errors import ConfigError, NumClipError, near_matches
from numclip_lightning.runs.config_files import with_readable_configs
from numclip_lightning.runs.terminal import configure_logging, message_of

__all__ = ["VERBS", "Verb", "entry_point", "load", "main"]


class Verb(NamedTuple):
    """The place of a verb.

    Attributes:
        module: Its module in this package.
        function: Its function there: takes the words after the verb, returns an exit code.
        help: One line on what it does.
        extra: The optional dependencies that it needs, as `pip install 'numclip-lightning[extra]'` calls them.
    """

    module: str
    function: str
    help: str
    extra: str = ""


VERBS = {
    "start": Verb("commands.start", "start", "Propose a configuration for a list or a folder; trains nothing."),
    "fit": Verb("commands.test", "fit", "Train a method and keep its best checkpoint."),
    "validate": Verb("commands.test", "validate", "Measure a checkpoint on the validation images."),
    "test": Verb("commands.test", "test", "Measure a checkpoint on the test images."),
    "predict": Verb("runs.command", "predict", "Write the predicted number of each image to a CSV file."),
    "interpolate": Verb(
        "commands.interpolate", "interpolate", "Go from a fit part of the way back to CLIP, as validation says."
    ),
    "calibrate": Verb(
        "commands.calibrate",
        "calibrate_command",
        "Say how sure predictions are, from files of any program.",
        "benchmark",
    ),
    "ensemble": Verb(
        "commands.ensemble", "ensemble", "Join the predictions of several runs into one answer.", "benchmark"
    ),
    "benchmark": Verb("commands.benchmark", "benchmark", "Compare many methods on many datasets.", "benchmark"),
    "sweep": Verb("commands.sweep", "sweep", "Search for good settings by the validation images.", "sweep"),
    "report": Verb("commands.report", "report", "Write a page about runs, or any file of predictions.", "report"),
    "export": Verb("commands.export", "export_command", "Write a trained model for other programs."),
    "serve": Verb("commands.serve", "serve", "Answer requests for predictions, with a page to try it."),
    "explain": Verb(
        "commands.explain", "explain", "Show where in an image the number comes from, and which words say so."
    ),
    "regions": Verb("commands.regions", "regions", "Read a number for each box or mask of a list."),
    "check": Verb("commands.check", "check", "Say what a dataset holds, and what is wrong with it."),
    "convert": Verb("commands.convert", "convert", "Make a backbone of other projects' weights, such as Long-CLIP's."),
    "features": Verb("commands.features", "features", "Encode the images of a dataset once, for many runs."),
    "splits": Verb("commands.splits", "splits", "Write the training, validation and test lists of a dataset."),
    "shards": Verb("commands.shards", "shards", "Pack images into tar shards, to train on them by URL.", "shards"),
    "env": Verb("commands.env", "env", "Print versions and devices, to paste into an issue."),
}

_HELP = "\n".join([
    "usage: numclip VERB [--KEY=VALUE]...",
    "",
    "Read ordered quantities from images with CLIP.",
    "",
    "verbs:",
    *(f"  {name:<12}{verb.help}" for name, verb in VERBS.items()),
    "",
    "more:",
    "  numclip fit --help                        all flags of a verb",
    "  numclip fit --model.help NumCLIP          the arguments of a method",
    "  numclip fit --data.help ListDataModule    the arguments of a dataset",
    "  numclip --version                         the version of this program",
    "  numclip --completion bash                 a script with which bash (or zsh, or fish) completes all of these",
    "",
])  # fmt: skip


def main(args: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        args: The words after `numclip`; None takes those of the shell.

    Returns:
        The exit code, with a message and no traceback on standard error unless it is 0: 2 after a mistake of the user;
        1 if a run has diverged, gives results that are not finite, or has failed in a benchmark; 3 if images were
        skipped; 130 after Ctrl-C; 143 after SIGTERM.
    """
    words = sys.argv[1:] if args is None else list(args)
    if not words:
        sys.stderr.write(_HELP)
        return 2
    if words[0] in ("-h", "--help", "--version"):
        sys.stdout.write(f"numclip {__version__}\n" if words[0] == "--version" else _HELP)
        return 0
    try:
        if words[0].partition("=")[0] == "--completion":
            return _print_completion(words)
        _require_known(words[0])
        # Before the imports, which take seconds.
        rest = with_readable_configs(words[1:])
        return load(words[0])(rest)
    except (NumClipError, OSError) as error:
        sys.stderr.write(f"numclip: error: {message_of(error)}\n")
        return getattr(error, "exit_code", 2)
    except KeyboardInterrupt:
        sys.stderr.write("numclip: stopped by Ctrl-C\n")
        return 130


def _print_completion(words: Sequence[str]) -> int:
    """Print the script with which a shell completes verbs and flags."""
    from numclip_lightning.commands.completion import completion

    return completion(words, {name: (verb.help, partial(load, name)) for name, verb in VERBS.items()})


def _require_known(name: str) -> None:
    """Refuse what is no verb of the table."""
    if name not in VERBS:
        hint = near_matches(name, VERBS, most=1) or "; choose one of " + ", ".join(VERBS)
        raise ConfigError(f"{name!r} is not a verb of numclip{hint} (numclip --help lists them; flags follow the verb)")


def load(name: str) -> Callable[[Sequence[str]], int]:
    """Import the function of a verb, and set up logging for it.

    Args:
        name: A verb of the table.

    Raises:
        ConfigError: If a package of its extra is missing.
    """
    verb = VERBS[name]
    try:
        module = import_module(f"numclip_lightning.{verb.module}")
    except ModuleNotFoundError as error:
        if not verb.extra:
            raise
        install = f"pip install 'numclip-lightning[{verb.extra}]'"
        raise ConfigError(f"numclip {name} needs {error.name}; install it with {install}.") from error
    configure_logging()
    function: Callable[[Sequence[str]], int] = getattr(module, verb.function)
    return function


def entry_point() -> NoReturn:
    """Run `main` with the words of the shell and exit with its code.

    In a sweep of Weights & Biases, a run that a signal has stopped ends by that signal: an agent takes any code but 0
    for a failure, and gives up after some, although hyperband stops most runs.
    """
    code = main()
    if code in (128 + signal.SIGINT, 128 + signal.SIGTERM) and "WANDB_SWEEP_ID" in os.environ:
        sys.stdout.flush()
        signal.signal(code - 128, signal.SIG_DFL)
        os.kill(os.getpid(), code - 128)
    sys.exit(code)

"""`numclip`: fit, validate, test and predict from configuration files and flags."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from lightning.fabric.utilities.exceptions import MisconfigurationException

from numclip_lightning.commands.splits import splits
from numclip_lightning.errors import ConfigError, NumClipError
from numclip_lightning.runs.command import NumClipCLI
from numclip_lightning.runs.terminal import speak, told

__all__ = ["entry_point", "main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: The words after `numclip`; those of the shell where None.

    Returns:
        0, or 2 after a user's mistake, which is then told in a message without a traceback; of a benchmark 1 if a run
        has failed.
    """
    speak()
    words = sys.argv[1:] if args is None else list(args)
    try:
        if words[:1] == ["benchmark"]:
            return _benchmark(words[1:])
        if words[:1] == ["splits"]:
            splits(words[1:])
            return 0
        NumClipCLI(words)
    except (NumClipError, MisconfigurationException, OSError) as error:
        print(f"numclip: error: {told(error)}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _benchmark(words: Sequence[str]) -> int:
    # Imported here: it imports this module, and wants packages that nothing else needs.
    try:
        from numclip_lightning.commands.benchmark import benchmark
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"numclip benchmark needs {error.name}; install it with pip install 'numclip-lightning[benchmark]'."
        ) from error
    return benchmark(words)


def entry_point() -> NoReturn:
    """Run `main` with the shell's words and exit with its code."""
    sys.exit(main())

"""Checks of a datamodule's arguments."""

from pathlib import Path

from numclip_lightning.errors import ConfigError, refuse

__all__ = ["expand_home", "require_fraction", "require_least"]


def require_least(name: str, value: int, least: int) -> None:
    """Raise ConfigError if an argument is smaller than it may be.

    Args:
        name: Its name, as the user knows it.
        value: Its value.
        least: The smallest value it may have.
    """
    if value < least:
        refuse(f"{name}={value} must be at least {least}")


def require_fraction(name: str, value: float) -> None:
    """Raise ConfigError unless an argument is in (0, 1).

    Args:
        name: Its name, as the user knows it.
        value: Its value.
    """
    if not 0 < value < 1:
        refuse(f"{name}={value} must be between 0 and 1, both excluded")


def expand_home(argument: str, path: str) -> str:
    """Return a path with the home folder in place of `~`, which a shell leaves in `--data.root=~/faces`.

    Args:
        argument: Its name, for the message.
        path: The path as it was given.

    Raises:
        ConfigError: If the home folder is unknown.
    """
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError as error:
        raise ConfigError(f"{argument}={path!r}: {error}; give the path without ~") from error

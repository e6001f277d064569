"""The configurations that come with the package, found from any folder: `configs/methods/coop.yaml`."""

from pathlib import Path

__all__ = ["config_path", "shipped_configs"]

_FOLDER = "configs"


def shipped_configs() -> Path:
    """Return the folder of the configurations: inside an installed package, or that of the clone."""
    package = Path(__file__).resolve().parents[1]
    inside = package / _FOLDER
    return inside if inside.is_dir() else package.parents[1] / _FOLDER


def config_path(name: str) -> str:
    """Return the path of a configuration, or of a folder of them, as a user writes it.

    What is in the working directory comes first. Only a name that starts with `configs/` and is not there is looked for
    among those that come with the package.

    Args:
        name: Such as `scans.yaml`, `configs/methods/coop.yaml` or `configs/methods`.

    Returns:
        The same name, or the path of what came with the package. A name that is nowhere is returned as it is: whoever
        reads it knows best what to say.
    """
    path = Path(name)
    if path.parts[:1] != (_FOLDER,) or path.exists():
        return name
    found = shipped_configs().joinpath(*path.parts[1:])
    return str(found) if found.exists() else name

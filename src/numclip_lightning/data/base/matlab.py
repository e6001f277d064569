"""Tables that authors have left in MATLAB files."""

from pathlib import Path
from typing import Any

from numclip_lightning.errors import DataError

__all__ = ["read_matlab"]

_EXTRA = "pip install 'numclip-lightning[lists]'"


def read_matlab(source: Path, variable: str) -> Any:
    """Read a variable of a MATLAB file up to version 7.2: structures become dicts, arrays stay arrays.

    Args:
        source: The file.
        variable: The name of the variable.

    Raises:
        DataError: If SciPy is missing, the file is no such file, or it has no variable of that name.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DataError(f"{source} is a MATLAB file; reading it needs SciPy: {_EXTRA}") from error
    try:
        found = loadmat(str(source), simplify_cells=True)
    except NotImplementedError as error:
        raise DataError(f"{source} is a MATLAB file of version 7.3; save it in MATLAB with the option -v7") from error
    # Whatever its reader meets in a damaged file.
    except Exception as error:
        raise DataError(f"{source}: this is no MATLAB file that can be read: {error}") from error
    if variable not in found:
        names = ", ".join(name for name in found if not name.startswith("__"))
        raise DataError(f"{source} has no variable {variable!r}; it has {names or 'none'}: is it another file?")
    return found[variable]

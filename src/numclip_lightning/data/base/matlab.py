"""Tables that authors have left in MATLAB files."""

import struct
import zlib
from pathlib import Path
from typing import Any

from numclip_lightning.data.base.types import MAX_UNPACKED
from numclip_lightning.errors import DataError

__all__ = ["read_matlab"]

# Of version 5: the file begins with text, each variable with its kind and its size.
_HEADER, _TAG = 128, 8
_COMPRESSED = 15
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
        if (size := _unpacked(source)) > MAX_UNPACKED:
            raise ValueError(f"it unpacks to {size / 1e9:.1f} GB, more than a table has")
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


def _unpacked(source: Path) -> int:
    """Return the bytes that the compressed variables of a file claim; 0 for what is no file of version 5."""
    size = 0
    with source.open("rb") as file:
        order = {b"IM": "<", b"MI": ">"}.get(file.read(_HEADER)[-2:])
        while order and len(tag := file.read(_TAG)) == _TAG:
            kind, length = struct.unpack(f"{order}II", tag)
            following = file.tell() + length
            if kind == _COMPRESSED:
                start = zlib.decompressobj().decompress(file.read(min(length, 1024)), _TAG)
                size += struct.unpack(f"{order}II", start.ljust(_TAG, b"\0"))[1]
            file.seek(following)
    return size

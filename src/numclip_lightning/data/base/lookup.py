"""The files that the entries of lists name."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, overload
from urllib.parse import unquote

from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.paths import path_key
from numclip_lightning.images.folders import IMAGE_SUFFIXES, list_images

__all__ = ["FoundFiles", "below", "find_files", "hint_near"]

# Where the images of a public list are, whose entries are bare names or have the folders of its authors.
_FOLDERS = ((), ("image",))


class FoundFiles(NamedTuple):
    """The files of a list's entries.

    Attributes:
        files: One for each entry, whether or not it exists.
        note: Where all were found by their names alone; empty if the list's own paths were followed.
        almost: Where some were found by their names alone, which does not count; empty otherwise.
    """

    files: Sequence[Path]
    note: str
    almost: str


class _Written(Sequence[Path]):
    """The files of a long list whose paths are followed as written; each is made when it is asked for."""

    def __init__(self, root: str | Path, paths: Sequence[str]) -> None:
        self._root, self._paths = root, paths

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> "_Written": ...
    def __getitem__(self, index: int | slice) -> "Path | _Written":
        if isinstance(index, slice):
            return _Written(self._root, self._paths[index])
        return Path(os.path.normpath(_as_written(self._root, self._paths[index])))


def find_files(root: str | Path, labels: Sequence[Label]) -> FoundFiles:
    r"""Find the images that lists name.

    A path is followed as it is written. Public lists have bare names or the folders of their authors
    (`../../datasets/Morph/image/x.JPG`, `C:\faces\x.jpg`) where the images are in `root` or in `root/image`. So if no
    entry of a list exists as it is written, and every entry is found by its name in one of these two folders, and no
    two entries have one name, these are the files. Likewise, if every entry is an id without a suffix, and each has one
    image of that name (`000c1434d8d7` is `000c1434d8d7.png`), these are the files. In a list of which any entry exists
    as written, a name alone never counts: `day2/000.png` is not `000.png`.

    Args:
        root: Folder that the entries are relative to; absolute paths are used as they are.
        labels: The entries, which may be of several lists.

    Returns:
        The file of each entry, and where they were found if not as written.
    """
    columns = labels.columns if isinstance(labels, LabelTable) else None
    if columns:
        if any(os.path.isfile(_as_written(root, path)) for path in columns.paths):  # noqa: PTH113
            return FoundFiles(_Written(root, columns.paths), "", "")
        return _find_list(root, columns.source, columns.paths)
    lists: dict[Path, list[int]] = {}
    files, notes, almost = [label.source for label in labels], list[str](), list[str]()
    for index, label in enumerate(labels):
        # An image that is in no list is its own source.
        if label.line:
            lists.setdefault(label.source, []).append(index)
    for source, indices in lists.items():
        found = _find_list(root, source, [labels[index].path for index in indices])
        for index, file in zip(indices, found.files, strict=True):
            files[index] = file
        notes += [found.note] * bool(found.note)
        almost += [found.almost] * bool(found.almost)
    return FoundFiles(files, "; ".join(notes), "; ".join(almost))


def _find_list(root: str | Path, source: Path, paths: Sequence[str]) -> FoundFiles:
    written = [_as_written(root, path) for path in paths]
    almost = ""
    if not any(map(os.path.isfile, written)):
        names = [path_key(path).rsplit("/", 1)[-1] for path in paths]
        alike = len(set(names)) < len({path_key(path) for path in paths})
        for folder in (os.path.join(root, *parts) for parts in _FOLDERS):  # noqa: PTH118
            files = [os.path.join(folder, name) for name in names]  # noqa: PTH118
            number = sum(map(os.path.isfile, files))
            found = (
                f"none of the {len(paths)} paths in {source} exists as written; {number} are found by their names in "
            )
            if number == len(paths) and not alike:
                return FoundFiles([Path(os.path.normpath(file)) for file in files], found + folder, "")
            if number:
                why = "no two have one name" if alike else "all of them are"
                almost = f"{found}{folder}, which counts only if {why}"
        ids = _find_ids(source, written)
        if ids.note:
            return ids
        almost = almost or ids.almost
    return FoundFiles([Path(os.path.normpath(file)) for file in written], "", almost)


def _find_ids(source: Path, written: Sequence[str]) -> FoundFiles:
    """Find the images of ids, which are paths without a suffix; each folder is read once."""
    if any(Path(path).suffix.lower() in IMAGE_SUFFIXES for path in written):
        return FoundFiles([], "", "")
    images: dict[str, dict[str, list[Path]]] = {}
    found = []
    for path in written:
        folder, name = os.path.split(os.path.normpath(path))
        if folder not in images:
            images[folder] = {}
            for file in list_images(folder) if os.path.isdir(folder) else ():  # noqa: PTH112
                images[folder].setdefault(file.stem, []).append(file)
        found.append(images[folder].get(name, []))
    number, doubled = sum(map(bool, found)), next((files for files in found if len(files) > 1), None)
    if not number:
        return FoundFiles([], "", "")
    said = f"none of the {len(written)} paths in {source} has the suffix of an image; {number} are found with one"
    if number == len(written) and doubled is None:
        return FoundFiles([files[0] for files in found], said, "")
    why = (
        "all of them are" if doubled is None else f"only one image has the name, not {' and '.join(map(str, doubled))}"
    )
    return FoundFiles([], "", f"{said}, which counts only if {why}")


def _as_written(root: str | Path, path: str) -> str:
    """Strings, not `Path`s: this runs for every entry of long lists, several times."""
    plain = os.path.join(root, path)  # noqa: PTH118
    # A backslash may be a part of a name, or Windows' separator.
    return plain if "\\" in path and os.path.isfile(plain) else os.path.join(root, path_key(path))  # noqa: PTH113, PTH118


def below(root: str | Path, file: Path, path: str) -> str:
    """Return an existing file's path from `root` on; the path as the list has it for others."""
    found, folder = file.absolute(), Path(os.path.normpath(Path(root).absolute()))
    return found.relative_to(folder).as_posix() if found.is_relative_to(folder) and found.is_file() else path


def hint_near(root: str | Path, path: str) -> str:
    """Name the file that a missing entry may mean.

    Args:
        root: Folder that the entry is relative to.
        path: The entry as written.

    Returns:
        `"; did you mean 'IMG_1.JPG'?"` for one that differs by case, by composed accents, by invisible characters, by
        `%2C` for a comma, or by its suffix; for one of
        the same name in another folder, where it is; an empty string if there is neither.
    """
    key = path_key(path)
    if near := _near("/" if key.startswith("/") else str(root), [part for part in key.split("/") if part]):
        form = unicodedata.normalize("NFC", near) == unicodedata.normalize("NFC", key)
        return f"; did you mean {near!r}?" + " (its accents are written in another form of Unicode)" * form
    name = key.rsplit("/", 1)[-1]
    for parts in _FOLDERS:
        other = os.path.join(root, *parts, name)  # noqa: PTH118
        if os.path.isfile(other):  # noqa: PTH113
            return f"; {other} has its name, but is in another folder"
    return ""


def _near(folder: str, parts: Sequence[str]) -> str:
    """Follow a path by names that are equal but for case and accents' form, the last one but for its suffix too."""
    found: list[str] = []
    for number, part in enumerate(parts, 1):
        place = os.path.join(folder, *found)  # noqa: PTH118
        if part == ".." or os.path.exists(os.path.join(place, part)):  # noqa: PTH110, PTH118
            found.append(part)
            continue
        try:
            names = sorted(os.listdir(place))  # noqa: PTH208
        except OSError:
            return ""
        same = [name for name in names if _fold(name) == _fold(part)]
        if not same and number == len(parts):
            same = [name for name in names if _fold(Path(name).stem) == _fold(Path(part).stem)]
        if not same:
            return ""
        found.append(same[0])
    return "/".join(found)


def _fold(name: str) -> str:
    # Cf: zero-width and other invisible characters.
    seen = "".join(letter for letter in unquote(name) if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFC", seen).casefold()

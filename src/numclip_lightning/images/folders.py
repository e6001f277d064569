"""Image files in folders: what is taken, and what is left out."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["HEIF_SUFFIXES", "IMAGE_SUFFIXES", "FolderScan", "list_images", "scan_folder"]

HEIF_SUFFIXES = frozenset({".heic", ".heif"})
"""Photographs of phones; reading them takes pillow-heif, the extra `heic`."""

IMAGE_SUFFIXES = HEIF_SUFFIXES | frozenset({
    ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
})  # fmt: skip


@dataclass
class FolderScan:
    """What a folder holds.

    Attributes:
        images: Its image files, sorted by path.
        others: How many other files there are of each suffix.
        hidden: How many hidden files and folders are left out.
    """

    images: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    hidden: int = 0

    @property
    def left_out(self) -> str:
        """What is left out, such as `3 files with other suffixes (.txt 2, .csv 1)`; empty if nothing is."""
        parts = []
        if self.others:
            suffixes = ", ".join(f"{suffix or 'none'} {count}" for suffix, count in self.others.most_common())
            number = self.others.total()
            parts.append(f"{number} file{'s' * (number != 1)} with other suffixes ({suffixes})")
        if self.hidden:
            parts.append(f"{self.hidden} hidden file{'s' * (self.hidden != 1)} or folder{'s' * (self.hidden != 1)}")
        return " and ".join(parts)


def scan_folder(folder: str | Path, *, recursive: bool = False) -> FolderScan:
    """Search a folder for image files. Links are followed; a folder that links lead to twice is searched once.

    Args:
        folder: An existing folder.
        recursive: Whether to search its subfolders too, hidden ones excepted.
    """
    scan, seen = FolderScan(), {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, followlinks=True):
        scan.hidden += sum(name.startswith(".") for name in names)
        for name in names:
            # Strings, not `Path`s: folders may hold millions of files.
            if name.startswith(".") or not os.path.isfile(os.path.join(place, name)):  # noqa: PTH113, PTH118
                continue
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
            if suffix in IMAGE_SUFFIXES:
                scan.images.append(Path(place, name))
            else:
                scan.others[suffix] += 1
        if not recursive:
            break
        scan.hidden += sum(name.startswith(".") for name in folders)
        folders[:] = _new_folders(place, folders, seen)
    scan.images.sort(key=lambda file: file.parts)
    return scan


def _new_folders(place: str, names: list[str], seen: set[str]) -> list[str]:
    """Return the folders to search, real ones before links, which may lead to them or in a circle."""
    kept = []
    for name in sorted(names, key=lambda name: (Path(place, name).is_symlink(), name)):
        real = os.path.realpath(Path(place, name))
        if not name.startswith(".") and real not in seen:
            seen.add(real)
            kept.append(name)
    return kept


def list_images(folder: str | Path, *, recursive: bool = False) -> list[Path]:
    """Return the image files of a folder, sorted by path; see `scan_folder`.

    Args:
        folder: An existing folder.
        recursive: Whether to search its subfolders too.
    """
    return scan_folder(folder, recursive=recursive).images

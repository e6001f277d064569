"""`numclip env`: what people paste into an issue: versions, machine, devices; nothing secret, no network."""

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version

import torch
from jsonargparse import ArgumentParser

from numclip_lightning import __version__

__all__ = ["env", "facts"]

_NAME = "numclip-lightning"
# Settings that change what runs do. Keys of accounts are never among them.
_VARIABLES = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "WANDB_MODE", "HF_HUB_OFFLINE", "SLURM_JOB_ID")


def env(words: Sequence[str]) -> int:
    """Print the versions and the machine.

    Args:
        words: The words after `numclip env`; none are known.

    Returns:
        0.
    """
    about = "Print versions and devices, to paste into an issue."
    ArgumentParser(prog="numclip env", description=about).parse_args(list(words))
    sys.stdout.write("".join(f"{name}: {value}\n" for name, value in facts().items()))
    return 0


def facts() -> dict[str, str]:
    """Return what a run depends on, by name: this package, Python, the machine, devices, packages, some settings."""
    free = shutil.disk_usage(".").free / 2**30
    found = {
        "numclip": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(),
        "processor": f"{os.cpu_count()} cores, {torch.get_num_threads()} threads for torch",
        "devices": _devices(),
        "cuda": f"{torch.version.cuda or 'none'} (built with torch)",
        "free disk here": f"{free:.1f} GiB",
    }
    for package in _packages():
        found.setdefault(package, _version(package))
    return found | {name: os.environ[name] for name in _VARIABLES if name in os.environ}


def _devices() -> str:
    """Return the accelerators that torch sees."""
    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
    return "Apple GPU (mps)" if torch.backends.mps.is_available() else "no accelerator"


def _packages() -> list[str]:
    """Return the packages that ours needs or can use, by their names on the index, in order."""
    try:
        lines = requires(_NAME) or []
    except PackageNotFoundError:
        return []
    names = {line.split(";")[0].split("[")[0].strip() for line in lines if 'extra == "dev"' not in line}
    return sorted({_bare(name) for name in names} - {_NAME})


def _bare(requirement: str) -> str:
    """Return the name of a requirement without its versions."""
    for place, letter in enumerate(requirement):
        if letter in "<>=!~ (":
            return requirement[:place]
    return requirement


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"

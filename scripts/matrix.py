"""Install the wheel on the lowest and the highest versions of everything it needs, for each Python; test it there.

    make matrix                                     # every row: an hour, and 7 GB of disk at a time
    python scripts/matrix.py --rows lowest-3.11     # one row
    python scripts/matrix.py --list                 # the rows, and which interpreters are here

Lowest are the lowest versions that pyproject.toml allows; of what those need, the highest (`lowest-direct` of uv).
Packages come as wheels only. An environment is empty at first, holds the wheel and not the clone, and is removed.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from packages import REPOSITORY, environment, project, try_installed, uv

# Extras of users, all at once; `openvino` is of another maker and large, `docs` and `dev` are ours.
_EXTRAS = ("benchmark", "heic", "lists", "onnx", "optimisers", "serve", "shards", "sweep", "tensorboard", "test")

# Quick, and each meets another neighbour: parsers (jsonargparse), towers (torch, open_clip), metrics (torchmetrics,
# scikit-learn), images (Pillow, OpenCV, albumentations), lists (pyarrow, openpyxl, SciPy), a fit (Lightning), W&B, the
# report (pandas, matplotlib), export (ONNX), the server (FastAPI), optimisers.
TESTS = (
    "tests/test_cli.py", "tests/test_scale.py", "tests/losses/test_value_losses.py", "tests/metrics/test_metrics.py",
    "tests/models/test_mini.py", "tests/models/test_clip.py", "tests/images/test_transforms.py",
    "tests/images/test_corruptions.py", "tests/images/test_reading.py", "tests/data/base/test_dialects.py",
    "tests/methods/base/test_optimisers.py", "tests/runs/test_command.py", "tests/runs/test_wandb.py",
    "tests/runs/test_sweep_space.py", "tests/commands/test_env.py", "tests/report/test_report.py",
    "tests/report/test_figures.py", "tests/deploy/test_formats.py", "tests/deploy/test_server.py",
)  # fmt: skip


# Everything has wheels for it, but it was on no machine of ours yet. A row that passes makes it a classifier.
_NEXT = ("3.14",)


class Row(NamedTuple):
    """One environment: `lowest` or `highest` versions, on a version of Python."""

    versions: str
    python: str

    @property
    def name(self) -> str:
        """The row as `--rows` takes it."""
        return f"{self.versions}-{self.python}"


def rows() -> list[Row]:
    """Return the rows: the highest versions on every Python of the classifiers and after, the lowest on the first."""
    classifiers = project()["classifiers"]
    assert isinstance(classifiers, list)
    known = [found[1] for line in classifiers if (found := re.fullmatch(r".*:: Python :: (3\.\d+)", line))]
    return [Row("lowest", known[0]), *(Row("highest", version) for version in (*known, *_NEXT))]


def interpreter(version: str) -> str | None:
    """Return the interpreter of a version of Python on this machine, pyenv's too; None without one.

    Args:
        version: Such as `3.11`.
    """
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    for folder in [*os.get_exec_path(), *map(str, Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin"))]:
        file = Path(folder, f"python{version}")
        # A shim of pyenv is there for versions that are not.
        if file.is_file() and subprocess.run([file, "--version"], capture_output=True, check=False).returncode == 0:
            return str(file)
    return None


def run(row: Row, wheel: Path, tests: Sequence[str]) -> str:
    """Make the environment of a row and test in it; return its line of the table.

    Args:
        row: What to install.
        wheel: The package.
        tests: What to run.
    """
    found = interpreter(row.python)
    if found is None:
        return f"| {row.versions} | {row.python} | no interpreter here | | |"
    start = time.monotonic()
    print(f"\n== {row.name}", flush=True)
    with environment(found) as python:
        wanted = python.with_name("requirements.txt")
        resolution = "lowest-direct" if row.versions == "lowest" else "highest"
        extras = [f"--extra={name}" for name in _EXTRAS]
        try:
            uv("pip", "compile", "pyproject.toml", *extras, f"--resolution={resolution}", "--no-build", "--no-header",
               "--no-annotate", "--python", python, "--output-file", wanted)  # fmt: skip
            uv("pip", "install", "--python", python, "--no-build", "--requirements", wanted)
            uv("pip", "install", "--python", python, "--no-deps", wheel)
            try_installed(python)
            result = _test(python, tests)
        except (subprocess.CalledProcessError, SystemExit) as error:
            result = f"failed: {str(error).splitlines()[0]}"
        pins = dict(line.split("==") for line in wanted.read_text().splitlines()) if wanted.exists() else {}
    minutes = (time.monotonic() - start) / 60
    versions = ", ".join(f"{name} {pins[name]}" for name in ("torch", "lightning", "numpy") if name in pins)
    return f"| {row.versions} | {row.python} | {versions} | {result} | {minutes:.0f} |"


def _test(python: Path, tests: Sequence[str]) -> str:
    """Run tests against the installed wheel; return the last line of pytest."""
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
    settings.pop("PYTHONPATH", None)
    # Other versions have other warnings, which CI refuses for its own versions only.
    command = [str(python), "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-W", "default",
               "--disable-warnings", *tests]  # fmt: skip
    lines = []
    with subprocess.Popen(command, cwd=REPOSITORY, env=settings, stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout or ():
            print(line, end="", flush=True)
            lines.append(line.strip())
    said = next((line.strip("= ") for line in reversed(lines) if line), "nothing was printed")
    # A crash of the interpreter, or words that pytest does not know, are no line of results.
    return said if not running.returncode or "failed" in said else f"failed with code {running.returncode}: {said}"


def main(words: Sequence[str] | None = None) -> int:
    """Run the rows and print their table.

    Returns:
        1 if a test of a row has failed or a row could not be installed, else 0; a missing interpreter is no failure.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", help="some of them, joined by commas")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="other tests")
    parser.add_argument("--list", action="store_true", help="name the rows only")
    given = parser.parse_args(words)
    chosen = [row for row in rows() if given.rows is None or row.name in given.rows.split(",")]
    if not chosen:
        parser.error(f"no row is called {given.rows}; there are {', '.join(row.name for row in rows())}")
    if given.list:
        print("\n".join(f"{row.name:14}{interpreter(row.python) or 'no interpreter here'}" for row in chosen))
        return 0
    with tempfile.TemporaryDirectory(prefix="numclip-wheel-") as folder:
        uv("build", "--wheel", "--out-dir", folder)
        (wheel,) = Path(folder).glob("*.whl")
        lines = [run(row, wheel, given.tests) for row in chosen]
    print("\n| versions | Python | of them | tests | minutes |\n| --- | --- | --- | --- | --- |")
    print("\n".join(lines))
    return int(any("failed" in line or "error" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())

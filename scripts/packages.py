"""What `make dist` and `make matrix` share: environments made by uv, and a first hour with an installed wheel.

python scripts/packages.py DIST    # checks and tries the wheel and the source distribution in a folder
"""

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
# What people who clone the repository need, and people who install it do not.
_NOT_SHIPPED = (".ci/", ".github/", ".gitignore", ".pre-commit-config.yaml", "MANIFEST.in")

# A fit of a few steps with the small CLIP of the package, on scenes that it makes: no file and no network. Both
# configurations come with the package.
_FIT = (
    "fit", "--config=configs/counting.yaml", "--config=configs/methods/crps.yaml",
    "--data.num_train=64", "--data.num_val=32", "--data.num_test=32",
    "--data.batch_size=16", "--data.num_workers=0", "--trainer.max_steps=8", "--trainer.accelerator=cpu",
    "--trainer.log_every_n_steps=1", "--test_after_fit=true",
)  # fmt: skip


def project() -> dict[str, object]:
    """Return the table `project` of pyproject.toml."""
    found: dict[str, object] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def uv(*words: str | Path, quiet: bool = True) -> None:
    """Run uv, which stands beside this Python (`pip install -e '.[release]'`).

    Args:
        words: What it does.
        quiet: Whether it reports errors only.
    """
    command = [str(Path(sys.executable).with_name("uv")), *(["--quiet"] if quiet else []), *map(str, words)]
    subprocess.run(command, check=True, cwd=REPOSITORY)


@contextmanager
def environment(python: str) -> Iterator[Path]:
    """Make an empty environment, removed at the end; yield its Python.

    Args:
        python: A version such as `3.11`, or the path of an interpreter.
    """
    with tempfile.TemporaryDirectory(prefix="numclip-env-") as folder:
        uv("venv", "--no-python-downloads", "--python", python, Path(folder, "env"))
        yield Path(folder, "env", "bin", "python")


def run_installed(python: Path, *words: str) -> str:
    """Run `numclip` of an environment outside the clone; return what it prints.

    Args:
        python: The Python of the environment.
        words: The words after `numclip`.
    """
    settings = {**os.environ, "WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1"}
    settings.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory(prefix="numclip-elsewhere-") as folder:
        done = subprocess.run(
            [python.with_name("numclip"), *words], cwd=folder, env=settings, stdout=subprocess.PIPE, text=True,
            check=True,
        )  # fmt: skip
    return done.stdout


def try_installed(python: Path) -> None:
    """Do what a new user does first: the version, what an issue needs, a short fit with its test.

    Args:
        python: The Python of an environment with the wheel.

    Raises:
        SystemExit: If one of them says something else than it should.
    """
    version = run_installed(python, "--version").strip()
    facts = run_installed(python, "env").splitlines()
    fit = run_installed(python, *_FIT)
    print(f"{version}; {next(line for line in facts if line.startswith('torch: '))}; a fit and a test of 8 steps")
    if f"numclip: {version.split()[-1]}" not in facts:
        raise SystemExit("`numclip --version` and `numclip env` name different versions")
    if "test_mae" not in fit:
        raise SystemExit(f"the fit printed no test_mae:\n{fit}")


def check_contents(folder: Path) -> None:
    """Compare what is in the wheel and the source distribution with what git tracks.

    Args:
        folder: Where both are.

    Raises:
        SystemExit: If a file is missing; all of them are named.
    """
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    tracked = listed.stdout.splitlines()
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    package = [file.removeprefix("src/") for file in tracked if file.startswith("src/")]
    package += [f"numclip_lightning/{file}" for file in tracked if file.startswith("configs/")]
    missing = [f"wheel: {file}" for file in package if file not in in_wheel]
    shipped = [file for file in tracked if not file.startswith(_NOT_SHIPPED)]
    missing += [f"source distribution: {file}" for file in shipped if file not in in_sdist]
    if missing:
        raise SystemExit("missing:\n" + "\n".join(missing))
    print(f"{wheel.name}: {len(package)} files, the embedded CLIP among them; {sdist.name}: {len(shipped)} files")


def main(words: Sequence[str] | None = None) -> int:
    """Check and try what `python -m build` made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the wheel and the source distribution are")
    parser.add_argument("--python", default=sys.executable, help="the interpreter to try it with")
    given = parser.parse_args(words)
    check_contents(given.folder)
    with environment(given.python) as python:
        uv("pip", "install", "--python", python, *given.folder.glob("*.whl"))
        try_installed(python)
    return 0


if __name__ == "__main__":
    sys.exit(main())

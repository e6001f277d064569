"""`numclip report`: one self-contained HTML page about runs, or about any file of predictions."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jsonargparse import ArgumentParser
from numpy.typing import NDArray

from numclip_lightning.data.base.pictures import load_pictures
from numclip_lightning.data.counting.datamodule import draw_listed
from numclip_lightning.errors import ConfigError
from numclip_lightning.images.loading import Reading
from numclip_lightning.report.html.gallery import Loader
from numclip_lightning.report.html.page import write_page
from numclip_lightning.report.reading import read_run
from numclip_lightning.report.reported import ReportedRun
from numclip_lightning.report.strangers import with_shared_truth

__all__ = ["loader_of", "report", "report_of_run"]

_PAGE = "report.html"
_COLUMNS = ("target", "value", "group", "path")


def report(words: Sequence[str]) -> int:
    """Run `numclip report RUN... [--output FILE] [--by COLUMN]... [--no_images]`.

    Args:
        words: The words after `numclip report`.

    Returns:
        The exit code 0.

    Raises:
        ConfigError: If the output is no place for a page.
        DataError: If a run has no predictions, or they can't be used.
    """
    chosen = _parser().parse_args(list(words))
    rename = {name: given for name in _COLUMNS if (given := getattr(chosen, f"{name}_column"))}
    runs = with_shared_truth([read_run(place, by=chosen.by, rename=rename) for place in chosen.runs])
    output = _output(chosen.output, runs)
    load = None if chosen.no_images else loader_of(chosen.images)
    command = shlex.join(["numclip", "report", *words])
    write_page(_with_names(runs, chosen.name), output, load=load, command=command, title=chosen.title)
    print(f"The report is in {output}, {output.stat().st_size / 1e6:.1f} MB: open it in a browser.")  # noqa: T201
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="numclip report",
        usage="numclip report RUN... [--output FILE] [--by COLUMN]... [--no_images] [--KEY=VALUE]...",
        description="Write one HTML page about runs: how good, where wrong, how sure, for whom, how made. RUN is a run "
        "folder, or a CSV file of any program with the column `value`, and `target` where the true numbers are known. "
        "Several runs stand beside each other, tested against the first; a file without `target` takes those of the "
        "first run, if it has its images.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("runs", nargs="+", type=str, help="Run folders or CSV files.")
    add("--output", type=str | None, default=None,
        help=f"The page to write; {_PAGE} in the run folder by default, here for several runs.")  # fmt: skip
    add("--by", action="append", type=str, default=[],
        help="A column to compare the images by, such as sex or site; several times for several. "
        "Columns `attribute_...` are compared in any case.")  # fmt: skip
    add("--no_images", action="store_true", help="Show no images, but their names: for private ones.")
    add("--images", type=str | None, default=None,
        help="The folder that the paths of the images are in; that of the run's configuration by default.")  # fmt: skip
    add("--name", action="append", type=str, default=[], help="What a run is called in the page; once for each RUN.")
    add("--title", type=str, default="", help="The heading of the page.")
    for name in _COLUMNS:
        add(f"--{name}_column", type=str | None, default=None, help=f"What the files call their column `{name}`.")
    return parser


def report_of_run(folder: Path, *, images: bool = True) -> Path:
    """Write the page of one run into its folder.

    Args:
        folder: The run folder, with `test_predictions.csv`.
        images: Whether it shows any.

    Returns:
        The page.
    """
    command = shlex.join(["numclip", "report", str(folder), *([] if images else ["--no_images"])])
    load = loader_of(None) if images else None
    return write_page([read_run(folder)], folder / _PAGE, load=load, command=command)


def loader_of(folder: str | None) -> Loader:
    """Return what loads the images of a run: from a folder, else from where its configuration says.

    Args:
        folder: The folder that the paths are in; None takes the `root` of the run's data, or draws generated scenes.
    """

    def load(run: ReportedRun, paths: Sequence[str]) -> Mapping[str, NDArray[np.uint8]]:
        data = run.config.get("data") or {}
        arguments = data.get("init_args") or {}
        if folder is None and str(data.get("class_path", "")).endswith("CountingDataModule"):
            if not run.has_truth:
                return {}
            targets = dict(zip(run.frame["path"], run.frame["target"], strict=True))
            return draw_listed(int(arguments.get("seed", 0)), paths, [targets[path] for path in paths])
        given = {name: arguments[name] for name in ("max_pixels", "grey_range") if arguments.get(name) is not None}
        root = folder or arguments.get("root") or run.file.parent
        return load_pictures(Path(root).expanduser(), list(run.frame["path"]), paths, Reading(**given))

    return load


def _output(given: str | None, runs: Sequence[ReportedRun]) -> Path:
    if given is None:
        if len(runs) > 1:
            return Path(_PAGE)
        folder = runs[0].folder
        return folder / _PAGE if folder else runs[0].file.with_suffix(f".{_PAGE}")
    output = Path(given)
    if output.is_dir():
        return output / _PAGE
    if output.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--output {given} is no name of a page; let it end in .html.")
    return output


def _with_names(runs: Sequence[ReportedRun], names: Sequence[str]) -> list[ReportedRun]:
    """Give the runs their names, and numbers where two would be called the same."""
    if names and len(names) != len(runs):
        raise ConfigError(
            f"--name was given {len(names)} times for {len(runs)} runs; give it once for each, or not at all."
        )
    found = list(names or (run.name for run in runs))
    if len(set(found)) < len(found):
        found = [f"{name} [{number}]" for number, name in enumerate(found, 1)]
    return [replace(run, name=name) for run, name in zip(runs, found, strict=True)]

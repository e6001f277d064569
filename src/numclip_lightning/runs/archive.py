"""The finished runs of a benchmark as one small file, to report them, or to go on with the rest, on another machine."""

import csv
import io
import lzma
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from numclip_lightning.errors import DataError
from numclip_lightning.runs.durable import replacing
from numclip_lightning.runs.planned import PlannedRun
from numclip_lightning.runs.records import PREDICTIONS, RESULT, has_finished, read_record

__all__ = ["pack_runs", "unpack_runs"]

_VALIDATED = "validation_predictions.csv"
_FILES = (RESULT, "config.yaml", "metrics.json", "calibration.json", "train_counts.json", PREDICTIONS)
# No report reads the quantiles, and probabilities only join runs to ensembles; they are most of a file.
_QUANTILE, _PROBABILITY = "q(", "p("


def pack_runs(runs: Iterable[PlannedRun], root: Path, archive: Path, *, ensembles: bool) -> int:
    """Write the finished ones of some runs, and those that the archive has already, into an archive.

    Of a run it keeps its record, its configuration and metrics, and its test predictions without the quantiles; no
    checkpoint and no log. The same runs give the same bytes.

    Args:
        runs: Runs, trials and tests on other images.
        root: The folder of the benchmark's runs.
        archive: A `.tar.xz` file, written whole or not at all.
        ensembles: Whether probabilities and validation predictions are kept too, which ensembles are made of.

    Returns:
        The number of runs in it.

    Raises:
        DataError: If the archive is there and can't be read.
    """
    there = _names_in(archive) if archive.exists() else set()
    names = there | {run.folder.relative_to(root).as_posix() for run in runs if has_finished(run)}
    kept = [name for name in sorted(names) if _is_finished(root / name)]
    if set(kept) == there:
        return len(kept)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with replacing(archive) as place, tarfile.open(place, "w:xz", preset=9) as whole:
        for name in kept:
            for file in [*_FILES, *([_VALIDATED] if ensembles else [])]:
                path = root / name / file
                if path.is_file():
                    content = _slim(path, ensembles) if path.suffix == ".csv" else path.read_bytes()
                    # Neither times nor owners.
                    entry = tarfile.TarInfo(f"{name}/{file}")
                    entry.size = len(content)
                    whole.addfile(entry, io.BytesIO(content))
    return len(kept)


def unpack_runs(archive: Path, root: Path) -> int:
    """Put the runs of an archive into a folder of runs; one that has finished there is left as it is.

    Args:
        archive: A file of `pack_runs`.
        root: The folder of the benchmark's runs.

    Returns:
        The number of runs that are new there.

    Raises:
        DataError: If the file can't be read, or is no archive of runs.
    """
    new = {name for name in _names_in(archive) if not _is_finished(root / name)}
    records = {}
    for name, content in _entries(archive):
        folder, file = name.rsplit("/", 1)
        if folder in new:
            if file == RESULT:
                records[root / name] = content
            else:
                (root / folder).mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(content)
    # Last: a run is complete when its record is there.
    for path, content in records.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as place:
            place.write_bytes(content)
    return len(records)


def _is_finished(folder: Path) -> bool:
    try:
        return bool(read_record(folder)["status"] == "finished")
    except DataError:
        return False


def _names_in(archive: Path) -> set[str]:
    """Return the folders of the runs in an archive."""
    return {name.rsplit("/", 1)[0] for name, _ in _entries(archive)}


def _entries(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each file; refuse a file that a benchmark has not packed."""
    try:
        with tarfile.open(archive, "r:xz") as whole:
            for entry in whole:
                path, content = PurePosixPath(entry.name), whole.extractfile(entry)
                own = path.name in (*_FILES, _VALIDATED) and len(path.parts) > 1 and not path.is_absolute()
                if content is None or not own or ".." in path.parts:
                    raise DataError(
                        f"archive {archive} has {entry.name!r}, which is no file of a run; it is not from a benchmark."
                    )
                yield entry.name, content.read()
    except (OSError, tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise DataError(f"archive {archive} can't be read ({error}); fetch it again, or give another file.") from error


def _slim(path: Path, ensembles: bool) -> bytes:
    """Return a file of predictions without the columns that no report needs; what is kept is kept to the letter."""
    dropped = (_QUANTILE,) if ensembles else (_QUANTILE, _PROBABILITY)
    found = io.StringIO()
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        heading = next(rows, [])
        kept = [place for place, name in enumerate(heading) if not name.startswith(dropped)]
        writer = csv.writer(found, lineterminator="\n")
        writer.writerow([heading[place] for place in kept])
        writer.writerows([row[place] for place in kept] for row in rows)
    return found.getvalue().encode("utf-8", errors="surrogateescape")

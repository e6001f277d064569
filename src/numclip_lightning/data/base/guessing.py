"""What a folder or a list probably is: its columns, groups and splits, each guess with its reason."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from numclip_lightning.data.base.columns import names_images
from numclip_lightning.data.base.dialects import Record, read_header, read_records
from numclip_lightning.data.base.guess import MOST_WORDS, Guess
from numclip_lightning.data.base.guessing_columns import FEWEST_GROUPS, group_columns, is_usual, numeric_columns
from numclip_lightning.data.base.guessing_folders import of_folders
from numclip_lightning.data.base.labels import Label, read_labels
from numclip_lightning.data.base.lookup import find_files
from numclip_lightning.data.base.numerals import is_number
from numclip_lightning.data.base.split_words import SPLIT_WORDS
from numclip_lightning.data.base.tables import IMAGE_END
from numclip_lightning.data.base.types import Split
from numclip_lightning.data.base.word_order import order_words
from numclip_lightning.errors import DataError
from numclip_lightning.images.folders import IMAGE_SUFFIXES

__all__ = ["Guess", "guess_data"]

_LISTS = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".xlsx", ".parquet", ".txt")
_SPLITS = ("split", "set", "subset", "partition", "database")
_RATERS = re.compile(r"(?:rater|reader|annotator|observer|expert|judge|grader)[ _.-]*\w+")
# Characters of a text that are looked at to see whether it is a list.
_MOST_READ = 100_000
_FOLDERS = ("", "images", "image", "imgs", "photos", "train_images", "data")


def guess_data(path: Path) -> Guess:
    """Look at a list, a folder with lists, or a folder of folders; nothing is decoded or changed.

    Raises:
        DataError: If there is nothing to begin with; the message says what would do.
    """
    if not path.exists():
        raise DataError(f"{path} doesn't exist; give a list, or a folder of images")
    if path.is_file():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            raise DataError(f"{path} is one image; give a list of images with a number each, or a folder of folders")
        if path.suffix.lower() in (".yaml", ".yml"):
            raise DataError(f"{path} is a configuration; give a list of images, or go on with `numclip check --config`")
        return _of_lists(_beside(path))
    files = sorted(file for file in path.iterdir() if _is_list(file))
    by_split = {split: file for file in files if (split := SPLIT_WORDS.get(file.stem.lower()))}
    if "train" in by_split:
        return _of_lists(by_split)
    if len(files) == 1:
        return _of_lists({"train": files[0]})
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise DataError(f"{path} has several lists ({names}) and none is called train; give one of them")
    return of_folders(path)


def _is_list(file: Path) -> bool:
    """Whether a file of a folder is a list; a text or JSON file that names no image is about the data."""
    suffix = file.suffix.lower()
    if suffix not in _LISTS or file.name.startswith(".") or not file.is_file():
        return False
    if suffix not in (".txt", ".json"):
        return True
    with file.open(encoding="utf-8", errors="replace") as text:
        return bool(re.search(rf"{IMAGE_END}\b", text.read(_MOST_READ)))


def _of_lists(files: Mapping[Split, Path]) -> Guess:
    source = files["train"]
    guess = Guess({f"{split}_file": str(file) for split, file in files.items()})
    header = read_header(source)
    if any(is_number(name) or Path(name).suffix.lower() in IMAGE_SUFFIXES for name in header):
        guess.reasons.append(f"{source} has no header line: a path, and then a number, on each line.")
        guess.arguments["root"] = _root(source, [label.path for label in read_labels(source)], guess)
        guess.say_splits()
        return guess
    records = read_records(source, ())
    if not records:
        raise DataError(f"{source} has a header but no entries")
    columns = {name: [record.fields[name.lower()] for record in records] for name in header if name.strip()}
    path = _path_column(source, columns)
    guess.arguments["root"] = _root(source, columns[path], guess)
    if not names_images(path):
        guess.arguments["path_column"] = path
    others = {name: cells for name, cells in columns.items() if name != path}
    _guess_split(guess, others)
    _guess_group(guess, others, len(records))
    _guess_target(guess, source, others, records, path)
    guess.say_splits()
    return guess


def _beside(source: Path) -> dict[Split, Path]:
    """Return a list with those of the other splits beside it, if it is called train."""
    if SPLIT_WORDS.get(source.stem.lower()) != "train":
        return {"train": source}
    beside = {SPLIT_WORDS.get(file.stem.lower()): file for file in sorted(source.parent.glob(f"*{source.suffix}"))}
    return {split: file for split, file in beside.items() if split} | {"train": source}


def _path_column(source: Path, columns: Mapping[str, Sequence[str]]) -> str:
    images = [
        n for n, cells in columns.items() if all(Path(cell).suffix.lower() in IMAGE_SUFFIXES for cell in cells[:50])
    ]
    found = images or [name for name in columns if names_images(name)]
    if not found:
        raise DataError(
            f"{source}: no column has the names of images; the columns are {', '.join(columns)}; call "
            "that of the paths 'path'"
        )
    return found[0]


def _root(source: Path, paths: Sequence[str], guess: Guess) -> str:
    """Return the folder near a list where most of its first images are."""
    labels = [Label(path, (), None, line, source) for line, path in enumerate(paths[:200], 1)]
    roots = [source.parent / folder for folder in _FOLDERS] + [source.parent.parent / folder for folder in _FOLDERS]
    counts = {root: sum(file.is_file() for file in find_files(root, labels).files) for root in roots if root.is_dir()}
    best = max(counts, key=lambda root: counts[root])
    if not counts[best]:
        guess.reasons.append(f"EDIT: no image of the list was found near it, such as {paths[0]!r}; set data.root.")
        return str(source.parent)
    guess.reasons.append(f"The images are in {best} ({counts[best]} of the first {len(labels)} are there).")
    return str(best)


def _guess_split(guess: Guess, columns: Mapping[str, Sequence[str]]) -> None:
    for name, cells in columns.items():
        if (
            name.lower() in _SPLITS
            and {cell.lower() for cell in cells} <= SPLIT_WORDS.keys()
            and len(guess.arguments) < 4
        ):
            guess.arguments["split_column"] = name
            guess.reasons.append(f"The column {name!r} says which split each image is in.")
            return


def _guess_group(guess: Guess, columns: Mapping[str, Sequence[str]], total: int) -> None:
    groups = group_columns(columns)
    for name, number in groups.items():
        if number >= FEWEST_GROUPS:
            guess.arguments["group_column"] = name
            guess.reasons.append(f"The column {name!r} has {number} values for {total} images: those stay together.")
            return
    for name, number in groups.items():
        guess.reasons.append(f"The column {name!r} has {number} values only, too few to divide images by them.")
    guess.reasons.append(
        "No column says which images belong together; if some do (a patient), add one and set group_column."
    )


def _guess_target(
    guess: Guess, source: Path, columns: Mapping[str, list[str]], records: Sequence[Record], path: str
) -> None:
    raters = [name for name in numeric_columns(columns) if _RATERS.fullmatch(name.lower())]
    taken = {guess.arguments.get("group_column"), guess.arguments.get("split_column")}
    free = {name: cells for name, cells in columns.items() if name not in taken and name.strip()}
    usual = [name for name in free if is_usual(name)]
    numbers = numeric_columns({name: free[name] for name in usual or free})
    if len(raters) > 1 and not (usual and numbers):
        guess.arguments["rater_columns"], guess.name = raters, "score"
        guess.reasons.append(f"{len(raters)} columns are of raters: the number is their mean.")
        return
    if not numbers:
        _guess_words(guess, source, {name: free[name] for name in usual or free}, records, path)
        return
    guess.name = numbers[0]
    guess.arguments["target_column"] = guess.name
    other = f" (others that could be: {', '.join(numbers[1:])})" if len(numbers) > 1 else ""
    guess.reasons.append(f"The number is in the column {guess.name!r}{other}.")
    paths = [record.fields[path.lower()] for record in records]
    pairs = set(zip(paths, free[guess.name], strict=True))
    if len(set(paths)) < len(pairs):
        guess.arguments["repeats"] = "votes"
        guess.reasons.append(
            "Some images are listed several times with different numbers: these are taken as raters' votes."
        )


def _guess_words(
    guess: Guess, source: Path, columns: Mapping[str, list[str]], records: Sequence[Record], path: str
) -> None:
    """Take a column of words, which have to be numbered in a list of its own."""
    found = [name for name, cells in columns.items() if 1 < len(set(cells)) <= min(MOST_WORDS, len(cells) // 2)]
    if not found:
        raise DataError(f"{source}: no column has numbers, or a few words; the columns are {', '.join(columns)}")
    guess.name = found[0]
    if "val_file" in guess.arguments or "test_file" in guess.arguments:
        raise DataError(
            f"{source}: the column {guess.name!r} has words, which would have to become numbers in several lists; give "
            "one list with a column of splits"
        )
    words, known = order_words(sorted(set(columns[guess.name])))
    number, names = f"{guess.name} number", [name for name in read_header(source) if name.strip()]
    guess.arguments |= {"target_column": number, "path_column": path}
    guess.rows = [
        {
            **{name: record.fields[name.lower()] for name in names},
            number: str(words.index(record.fields[guess.name.lower()])),
        }
        for record in records
    ]
    guess.reasons.append(f"The column {guess.name!r} has words: they become 0 to {len(words) - 1}.")
    guess.say_order(words, known)

"""What a folder of folders probably is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from numclip_lightning.data.base.graded_folders import read_graded_folder
from numclip_lightning.data.base.guess import MOST_WORDS, Guess
from numclip_lightning.data.base.split_words import SPLIT_WORDS
from numclip_lightning.data.base.types import Split
from numclip_lightning.data.base.word_order import order_words
from numclip_lightning.errors import DataError
from numclip_lightning.images.folders import scan_folder

__all__ = ["of_folders"]


def of_folders(path: Path) -> Guess:
    """Look at a folder with a folder for each number or word, or with such folders for each split.

    Raises:
        DataError: If it is something else.
    """
    images = scan_folder(path, recursive=True).images
    if not images:
        raise DataError(f"{path} has neither a list nor an image; give a list of images with a number each")
    if any(image.parent == path for image in images):
        raise DataError(
            f"{path} has images but no list of their numbers; add a CSV file with the columns path and target, or sort "
            "the images into a folder for each number"
        )
    parts = {image.relative_to(path).parts[0] for image in images}
    splits: dict[str, Split] = {part: SPLIT_WORDS[part.lower()] for part in parts if part.lower() in SPLIT_WORDS}
    if splits and (len(splits) < len(parts) or "train" not in splits.values()):
        raise DataError(f"{path} has the folders {', '.join(sorted(parts))}, of which only some are splits; give one")
    depth = 1 if splits else 0
    try:
        for part in splits or [""]:
            read_graded_folder(path / part, path)
    except DataError:
        return _of_named_folders(path, images, splits, depth)
    guess = Guess({"root": str(path)})
    if splits:
        guess.arguments |= {f"{split}_file": str(path / part) for part, split in sorted(splits.items())}
    else:
        guess.arguments["train_file"] = str(path)
    guess.reasons.append(f"{path} has folders whose names are numbers: each image has the number of its folder.")
    guess.say_splits()
    guess.reasons.append("Nothing says which images belong together (a patient, a person); a list could say it.")
    return guess


def _of_named_folders(path: Path, images: Sequence[Path], splits: Mapping[str, Split], depth: int) -> Guess:
    """Number the folders by the order of their words; the list has to be written."""
    places = [image.relative_to(path).parts for image in images]
    names = sorted({parts[depth] for parts in places})
    if any(len(parts) < depth + 2 for parts in places) or not 1 < len(names) <= MOST_WORDS:
        found = f"{len(names)} folders" if len(names) > 1 else f"only the folder {names[0]!r}"
        raise DataError(
            f"{path} has {found} of images, which are no grades; give a folder with a folder for each "
            "number or word, or a list"
        )
    words, known = order_words(names)
    rows = [{"path": "/".join(parts), "target": str(words.index(parts[depth]))} for parts in places]
    for row, parts in zip(rows, places, strict=True) if splits else ():
        row["split"] = splits[parts[0]]
    guess = Guess({"root": str(path), "target_column": "target"}, rows=rows)
    guess.arguments |= {"split_column": "split"} if splits else {}
    guess.reasons.append(f"{path} has folders whose names are words: they become 0 to {len(words) - 1}.")
    guess.say_order(words, known)
    guess.say_splits()
    return guess

"""`numclip explain`: where in an image the number comes from, and which words speak for it and against it."""

import csv
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch.utils.data import DataLoader, Subset

from numclip_lightning.commands.run_data import data_of_run
from numclip_lightning.data.counting.datamodule import CountingDataModule
from numclip_lightning.deploy.embedded import EMBEDDED
from numclip_lightning.deploy.explaining import MAPS, SHARPNESS, Explainer
from numclip_lightning.deploy.inputs import Named, named_images
from numclip_lightning.deploy.predictor import OrdinalPredictor
from numclip_lightning.deploy.words import image_words, level_words, words_text, write_words
from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.progress import say, watched

__all__ = ["explain"]


def explain(words: Sequence[str]) -> int:
    """Run `numclip explain --run RUN IMAGE... [--output DIR] [--maps values,occlusion,gradient] [--words true]`.

    Args:
        words: The words after `numclip explain`.

    Returns:
        The exit code 0.

    Raises:
        ConfigError: If there is no model, or its method can't be explained in the way that is asked.
        DataError: If an image can't be read.
    """
    parser = ArgumentParser(
        prog="numclip explain",
        usage="numclip explain --run RUN [IMAGE...] [--output DIR] [--maps MAP,...] [--words true] [--focus WORDS]",
        description="Show where in an image the number comes from, and which words speak for it.",
        allow_abbrev=False,
    )
    parser.add_argument("images", type=str, nargs="*", help="Images, or folders of them.")
    parser.add_argument("--run", type=str, required=True, help="A run folder, a checkpoint, or mini.")
    parser.add_argument("--output", type=str, default="explained", help="The folder to write to.")
    parser.add_argument("--maps", type=str, default=",".join(MAPS), help=f"Of {', '.join(MAPS)}; empty for none.")
    parser.add_argument("--cells", type=int, default=8, help="Squares in a row that occlusion covers one by one.")
    parser.add_argument("--steps", type=int, default=32, help="How many gradients are averaged.")
    parser.add_argument(
        "--focus", type=str | None, default=None, help="Words for what counts, as after 'a picture of'."
    )
    parser.add_argument("--sharpness", type=float, default=SHARPNESS, help="Of the focus; 0 leaves the image whole.")
    parser.add_argument("--words", type=bool, nargs="?", const=True, default=False,
                        help="Weigh the words of the levels, by validation images and by each image.")  # fmt: skip
    parser.add_argument("--most_images", type=int, default=1000, help="How many validation images weigh words.")
    chosen = parser.parse_args(list(words))
    maps: list[Any] = [name.strip() for name in chosen.maps.strip("[]").split(",") if name.strip()]
    for name in maps:
        check_choice("--maps", name, MAPS)
    if not chosen.images and not chosen.words:
        raise ConfigError("numclip explain needs an image, or --words true for the words of the levels.")
    explainer, folder = Explainer(OrdinalPredictor.load(chosen.run, keep_text=True)), Path(chosen.output)
    images = _images(chosen.images)
    for stem, (name, image) in watched(images.items(), len(images), "explaining images"):
        found = explainer(
            image, tuple(maps), focus=chosen.focus, sharpness=chosen.sharpness, cells=chosen.cells, steps=chosen.steps
        )
        pictures = found.save(folder, stem)
        say(f"{name}: {found.prediction}")
        for picture in pictures:
            say(f"  {picture}")
        if chosen.words:
            say(f"  {_write_image_words(explainer, image, folder / f'{stem}.words.csv')}")
    if chosen.words:
        _weigh_levels(explainer, chosen.run, folder, chosen.most_images)
    return 0


def _images(places: Sequence[str]) -> dict[str, Named]:
    """Return all images by what their files are called, before the first of them takes its time."""
    found: dict[str, Named] = {}
    for place in places:
        for number, named in enumerate(named_images(place)):
            stem = Path(named.name).stem if Path(place).is_file() else f"{number:04d}-{Path(named.name).stem}"
            # Two folders may have an image of one name.
            later = (f"{stem}-{copy}" for copy in count(2))
            found[stem if stem not in found else next(name for name in later if name not in found)] = named
    return found


def _write_image_words(explainer: Explainer, image: Any, path: Path) -> Path:
    """Write what each word of each level adds to the cosine with an image; return the file."""
    explainer.require_features("weighing words")
    with torch.no_grad():
        features = explainer.method.encode_images(explainer.tensor_of(image)[None])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["phrase", "place", "word", "score"])
        for phrase, scores in image_words(explainer.method, features):
            table.writerows([phrase, place, word, f"{score:.6g}"] for place, (word, score) in enumerate(scores))
    return path


@torch.no_grad()
def _weigh_levels(explainer: Explainer, run: str, folder: Path, most: int) -> None:
    """Write and print what the words of each level add for its validation images."""
    explainer.require_features("weighing words")
    data = CountingDataModule(num_val=most) if run == EMBEDDED else data_of_run(Path(run), "explain")
    if data is None:
        raise ConfigError(f"{run} is in no run folder, so that it has no validation images to weigh words by.")
    clip, recipe = explainer.method.clip, explainer.predictor.recipe
    data.follow_backbone(clip.image_size, recipe.mean, recipe.std)
    images = Subset(data.dataset("val"), range(min(most, len(data.labels("val")))))
    features, targets = [], []
    batches = DataLoader(images, batch_size=explainer.predictor.batch_size)
    for batch in watched(batches, len(batches), "encoding validation images", "batch"):
        features.append(explainer.method.encode_images(batch["image"].to(explainer.predictor.device)))
        targets.append(batch["target"])
    found = level_words(explainer.method, torch.cat(features), torch.cat(targets))
    folder.mkdir(parents=True, exist_ok=True)
    write_words(found, folder / "words.csv")
    print(f"what each word adds for the images of its level, over all others ({len(images)} validation images):")  # noqa: T201
    print(words_text(found))  # noqa: T201
    print(f"  {folder / 'words.csv'}")  # noqa: T201

"""`numclip start`: a configuration for a list or a folder, to be read and edited; nothing is trained."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from numclip_lightning.commands.start_scale import ProposedScale, propose_scale
from numclip_lightning.data.base.guess import Guess
from numclip_lightning.data.base.guessing import guess_data
from numclip_lightning.data.base.labels import LabelTable
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.errors import ConfigError, DataError, format_number, shown
from numclip_lightning.progress import busy
from numclip_lightning.scale import OrdinalScale

__all__ = ["start"]

# Fewer validation images choose the best epoch by chance: a larger share of the training list validates then.
_FEW, _SHARE = 20, 0.25
_BACKBONE = "ViT-B-16-quickgelu"
# The recipe of configs/methods/numclip_plus.yaml, which fits any list.
_RECIPE: dict[str, Any] = {
    "trainer": {"max_epochs": 40},
    "length": {"steps": 1600, "min_epochs": 5},
    "early_stopping": {"patience": 10},
    "averaging": {"decay": 0.999},
}
_TRAINING: dict[str, Any] = {
    "learning_rates": {
        "image_encoder": 1e-3, "adapter": 0, "context": 0, "phrases": 0, "head": 1e-3, "by_size": True,
    },
    "optimizer": {"name": "AdamW", "args": {"weight_decay": 0.01}},
    "lr_scheduler": {"name": "OneCycleLR", "args": {"pct_start": 0.1}, "interval": "step"},
    "mix": {"kind": "cutmix", "prob": 0.5},
}  # fmt: skip


def start(words: Sequence[str]) -> int:
    """Run `numclip start FOLDER_OR_LIST [--output FILE] [--backbone NAME]`.

    Args:
        words: The words after `numclip start`.

    Returns:
        The exit code 0.

    Raises:
        BackboneError: If there is no such backbone.
        ConfigError: If a file would be overwritten, or `--output` is no name of a configuration.
        DataError: If nothing can be made of the folder or list; the message says what would do.
    """
    parser = ArgumentParser(
        prog="numclip start",
        description="Look at a list, or a folder of folders, and write a configuration for it: columns, splits by "
        "group, a scale with phrases to edit. Says what is guessed and why. Trains nothing.",
    )
    parser.add_argument("path", metavar="FOLDER_OR_LIST", type=Path, help="A list, or a folder of images in folders.")
    parser.add_argument(
        "--output",
        type=Path | None,
        default=None,
        help="The configuration to write; NAME.yaml here unless it is given.",
    )
    parser.add_argument(
        "--backbone",
        type=str,
        default=_BACKBONE,
        help="`mini`, the small CLIP in the package, needs no download.",
    )
    given = parser.parse_args(list(words))
    output = given.output or Path(f"{given.path.resolve().stem or 'start'}.yaml")
    if output.suffix.lower() not in (".yaml", ".yml"):
        raise ConfigError(f"--output={output} is no name of a configuration; give a file that ends in .yaml")
    with busy(f"looking at {given.path}"):
        guess = guess_data(given.path)
    weights = _weights(given.backbone, guess)
    listed = output.with_name(f"{output.stem}_numbers.csv") if guess.rows else None
    for file in filter(None, (output, listed)):
        if file.exists():
            raise ConfigError(f"{file} exists; give another one with --output, or remove it.")
    output.parent.mkdir(parents=True, exist_ok=True)
    if listed:
        listed.write_text(_csv(guess.rows), encoding="utf-8", newline="")
        guess.arguments["train_file"] = str(listed)
    try:
        with busy("reading the images' numbers"):
            sizes, scale = _look(guess)
    except BaseException:
        if listed:
            listed.unlink()
        raise
    output.write_text(_config(given.path, guess, scale, {"backbone": given.backbone, **weights}), encoding="utf-8")
    _say(output, listed, guess, scale, sizes)
    return 0


def _look(guess: Guess) -> tuple[dict[str, int], ProposedScale]:
    """Read the lists as a fit will, and propose a scale for all numbers; return how many images each split has."""
    tables = _tables(guess)
    if len(tables["val"]) < _FEW:
        tables = _more_validation(guess, tables)
    targets = [target for table in tables.values() for target in table.targets]
    if len(set(targets)) < 2:
        raise DataError(
            f"all {len(targets)} images have the number {format_number(targets[0])}: there is nothing to learn; give "
            "images of several numbers"
        )
    scale = propose_scale(targets, guess.name, guess.words)
    # What is proposed holds: levels are in order, and all numbers are on it.
    OrdinalScale(**scale.arguments).to_rank(max(targets))
    return {split: len(table) for split, table in tables.items()}, scale


def _tables(guess: Guess, **more: Any) -> dict[str, LabelTable]:
    data = ListDataModule(**guess.arguments, **more)
    return {"train": data.labels("train"), "val": data.labels("val"), "test": data.labels("test")}


def _more_validation(guess: Guess, tables: dict[str, LabelTable]) -> dict[str, LabelTable]:
    """Let more of few images validate, if they are taken from the training list; say what so few are worth."""
    larger = _tables(guess, val_fraction=_SHARE)
    if len(larger["val"]) > len(tables["val"]):
        guess.arguments["val_fraction"], tables = _SHARE, larger
        guess.reasons.append("There are few images: a quarter of those that are not for testing validates.")
    if (count := len(tables["val"])) < _FEW:
        guess.reasons.append(
            f"{count} {'image validates' if count == 1 else 'images validate'}: the best epoch and intervals are found "
            "on them, and depend on chance with so few. Label more, or look at several draws (data.seed)."
        )
    return tables


def _csv(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _weights(backbone: str, guess: Guess) -> dict[str, str]:
    """Return the weights of a backbone, as an argument of a method; those of a choice among several are remarked."""
    if backbone == "mini":
        return {}
    if backbone == _BACKBONE:
        return {"pretrained": "openai"}
    # open_clip takes seconds to import, and only the names of other models are looked up in it.
    from numclip_lightning.models.usual_weights import usual_weights

    found = usual_weights(backbone)
    if found.others:
        guess.reasons.append(f"EDIT: pretrained is {found.name} (others that fit: {', '.join(found.others)}).")
    return {"pretrained": found.name}


def _config(path: Path, guess: Guess, scale: ProposedScale, backbone: dict[str, str]) -> str:
    """Return the configuration as YAML; what was guessed stands above it as comments."""
    model = {**backbone, "scale": scale.arguments, **_TRAINING}
    batch = {**guess.arguments, "batch_size": 32}
    content = {
        **_RECIPE,
        "model": {"class_path": "NumCLIPPlus", "init_args": model},
        "data": {"class_path": "ListDataModule", "init_args": batch},
    }
    remarks = [
        f"Written by `numclip start {path}`. What was guessed:",
        *(f"- {line}" for line in _reasons(guess, scale)),
    ]
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    return "".join(f"# {_one_line(line)}\n" for line in remarks) + text


def _reasons(guess: Guess, scale: ProposedScale) -> list[str]:
    return [_one_line(reason) for reason in (*guess.reasons, *scale.reasons)]


def _one_line(text: str) -> str:
    """Keep a name with line breaks in its line: behind a break, a comment would be a part of the configuration."""
    return shown(text, len(text))


def _say(output: Path, listed: Path | None, guess: Guess, scale: ProposedScale, sizes: dict[str, int]) -> None:
    names = ("training", "validation", "testing")
    found = ", ".join(f"{count} for {name}" for name, count in zip(names, sizes.values(), strict=True))
    lines = [f"Images: {found}.", *(f"  {line}" for line in _reasons(guess, scale)), "", f"Written: {output}"]
    lines += [f"Written: {listed}, the images with their numbers"] if listed else []
    lines += [
        "",
        f"Next: read {output}, edit what is marked and the phrases, then",
        f"  numclip check --config {output}",
        f"  numclip fit --config {output} --test_after_fit true",
    ]
    print(*lines, sep="\n")  # noqa: T201

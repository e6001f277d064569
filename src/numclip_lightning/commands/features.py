"""`numclip features`: features of images on disk, for all runs with the same frozen tower, preprocessing and lists."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser

from numclip_lightning.data.base.datamodule import OrdinalDataModule, Split
from numclip_lightning.errors import ConfigError, MissingListError
from numclip_lightning.runs.command import NumClipCLI
from numclip_lightning.runs.feature_parts import compute_features
from numclip_lightning.runs.feature_store import kept_in, prune, table_of
from numclip_lightning.runs.parser import Parser

__all__ = ["features"]

_log = logging.getLogger(__name__)


def features(words: Sequence[str]) -> int:
    """Run `numclip features --config FILE --folder DIR`, or `numclip features --folder DIR --list|--prune`.

    Args:
        words: The words after `numclip features`.

    Returns:
        The exit code 0.

    Raises:
        ConfigError: If an argument is wrong, or no fit could read the features.
        DataError: If a list or an image can't be read.
    """
    if any(word.split("=")[0] in ("--list", "--prune") for word in words):
        return _show(words)
    try:
        _FeaturesCLI(["fit", *words], until="built", name="features").write()
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error
    return 0


def _show(words: Sequence[str]) -> int:
    """List what a folder holds, and remove what is stale if asked."""
    parser = Parser(prog="numclip features", usage="numclip features --folder DIR [--list] [--prune]")
    _add_flags(parser)
    given = parser.parse_args(list(words))
    folder = _folder(given.folder)
    found = kept_in(folder)
    if given.prune:
        removed = prune(folder, found)
        print(f"removed:\n{table_of(removed)}\n" if removed else "nothing is stale\n")  # noqa: T201
        found = [kept for kept in found if kept not in removed]
    print(table_of(found))  # noqa: T201
    return 0


def _add_flags(parser: LightningArgumentParser) -> None:
    add = parser.add_argument
    add("--folder", type=str | None, default=None, help="The folder of features; runs read it with features.folder.")
    add("--list", type=bool, nargs="?", const=True, default=False,
        help="Show what is in the folder, and whether it is valid; nothing is computed.")  # fmt: skip
    add("--prune", type=bool, nargs="?", const=True, default=False,
        help="Remove features that no run reads any more: images have changed, or a file is damaged.")  # fmt: skip


def _folder(given: str | None) -> Path:
    if not given:
        raise ConfigError("numclip features needs --folder: where features are, or will be.")
    return Path(given).expanduser()


class _FeaturesCLI(NumClipCLI):
    """The parser, the method and the data of `fit`, of which nothing is fitted."""

    def init_parser(self, *, own_flags: bool = False, **kwargs: Any) -> LightningArgumentParser:
        """Add the flags of this verb."""
        parser = super().init_parser(own_flags=own_flags, **kwargs)
        if own_flags:
            _add_flags(parser)
        return parser

    def _parse_ckpt_path(self) -> None:
        """Refuse to start without a folder."""
        _folder(self.config[self.verb].folder)
        super()._parse_ckpt_path()

    def write(self) -> None:
        """Compute the features of every list.

        Raises:
            ConfigError: If the tower learns, so that no fit would read them.
        """
        method: Any = self.model
        data: OrdinalDataModule = self.datamodule
        if method.learning_rates.image_encoder != 0:
            raise ConfigError(
                f"{type(method).__name__} trains its image tower (model.learning_rates.image_encoder is "
                f"{method.learning_rates.image_encoder:g}), so that features would serve no fit; set it to 0, or take "
                "a method with a frozen tower, such as --config configs/methods/linear_probe.yaml."
            )
        if self.trainer.world_size > 1:
            _log.warning("features are computed by one process; the other devices are left alone")
        data.follow_backbone(method.clip.image_size, method.clip.mean, method.clip.std)
        method.clip.require_size(data.side, data.side)
        folder = _folder(self.config[self.verb].folder)
        written = [file for split in _splits(data) if (file := self._write_split(folder, split))]
        if not written:
            raise ConfigError(
                "nothing could be kept: images that are made by a program are in no files, and some methods "
                f"({type(method).__name__} may be one) encode images in a way of their own, or look at "
                "them several times."
            )
        print(table_of(kept for kept in kept_in(folder) if kept.place in written))  # noqa: T201
        print(f"\nRuns read them with --features.folder={folder}")  # noqa: T201

    def _write_split(self, folder: Path, split: Split) -> Path | None:
        data: OrdinalDataModule = self.datamodule
        if not data.repeats_images(split):
            _log.warning("data.augment changes the %s images in each epoch; with data.augment=false they are kept too",
                         split)  # fmt: skip
            return None
        start = time.monotonic()
        found = compute_features(folder, self.trainer, self.model, data, split)
        if found is None:
            return None
        file, encoded = found
        seconds = time.monotonic() - start
        _log.info("features: %s: %d images encoded in %.1f s, %d were there", split, encoded, seconds,
                  len(data.labels(split)) - encoded)  # fmt: skip
        return file


def _splits(data: OrdinalDataModule) -> list[Split]:
    """Return the splits that have images, their lists read and checked."""
    found: list[Split] = []
    for stage, splits in (("fit", ("train", "val")), ("test", ("test",))):
        try:
            data.setup(stage)
        except MissingListError as error:
            if stage == "fit":
                raise
            _log.info("no features of test images: %s", error)
            continue
        found += splits  # type: ignore[arg-type]
    return found

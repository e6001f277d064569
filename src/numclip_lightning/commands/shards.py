"""`numclip shards`: pack the images of a configuration into tar shards, which `ShardDataModule` reads."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from numclip_lightning.commands.run_data import add_data
from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.packing import pack_split
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import ConfigError, MissingListError
from numclip_lightning.runs.parser import Parser
from numclip_lightning.runs.terminal import unwrap_errors

__all__ = ["shards"]

_SPLITS: tuple[Split, ...] = ("train", "val", "test")


def shards(words: Sequence[str]) -> int:
    """Run `numclip shards --config FILE [--data.KEY=VALUE]... --output DIR [--shard_size N]`.

    Args:
        words: The words after `numclip shards`.

    Returns:
        The exit code 0.

    Raises:
        ConfigError: If the images are in no files, or shards can't hold what is known of them.
        DataError: If a list or an image is missing or bad.
    """
    parser = Parser(
        prog="numclip shards",
        usage="numclip shards [--config FILE]... [--data.KEY=VALUE]... --output DIR [--shard_size N]",
        description="Pack images and their numbers into tar shards of WebDataset, which ShardDataModule reads from a "
        "disk or behind URLs. A packing that was stopped goes on with the same command.",
    )
    add_data(parser)
    parser.add_argument("--output", type=str, required=True, help="The folder of the shards.")
    parser.add_argument("--shard_size", type=int, default=10_000, help="The images of a shard.")
    config = parser.parse_args(list(words))
    if config.shard_size < 1:
        raise ConfigError(f"--shard_size is {config.shard_size}; give the images of a shard, 1 or more.")
    with unwrap_errors():
        data = parser.instantiate(config).data
    if not isinstance(data, FileDataModule):
        raise ConfigError(f"{type(data).__name__} has no image files to pack; use data of lists.")
    folder = Path(config.output).expanduser()
    if data.on_bad_image == "skip":
        _leave_out(data)
    data.labels("train")
    # Shards can't tell afterwards that two splits share an image or a person.
    data.split_lists.refuse_shared_images()
    for split in _SPLITS:
        try:
            data.labels(split)
        except MissingListError:
            continue
        images, number = pack_split(data, split, folder, config.shard_size)
        place = folder / f"{split}-{{000000..{number - 1:06d}}}.tar"
        print(f"{images} images in {number} shards: --data.{split}_shards='{place}'")  # noqa: T201
    return 0


def _leave_out(data: FileDataModule) -> None:
    """Leave images that can't be read out of all lists that are there: shards hold what a fit can read."""
    for stage in ("fit", "test"):
        with suppress(MissingListError):
            data.setup(stage)

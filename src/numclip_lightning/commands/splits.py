"""`numclip splits`: write the training, validation and test lists of a configuration for other programs."""

from collections.abc import Sequence

from numclip_lightning.commands.run_data import add_data
from numclip_lightning.data.base.writing import write_splits
from numclip_lightning.runs.parser import Parser
from numclip_lightning.runs.terminal import unwrap_errors

__all__ = ["splits"]


def splits(words: Sequence[str]) -> int:
    """Run `numclip splits --config FILE [--data.KEY=VALUE]... --output DIR`.

    Args:
        words: The words after `numclip splits`.

    Returns:
        The exit code 0.

    Raises:
        ConfigError: If the images are generated, or a list would be overwritten.
        DataError: If a list is missing or bad, or images are shared between splits.
    """
    parser = Parser(
        prog="numclip splits",
        usage="numclip splits [--config FILE]... [--data.KEY=VALUE]... --output DIR",
        description="Write train.txt, val.txt and test.txt as ListDataModule reads them: the path, the target and, "
        "where the list has one, the group of an image on each line. With --data.test_fraction, one list is divided.",
    )
    add_data(parser)
    parser.add_argument("--output", type=str, required=True, help="The folder to write to.")
    config = parser.parse_args(list(words))
    with unwrap_errors():
        data = parser.instantiate(config).data
    write_splits(data, config.output)
    return 0

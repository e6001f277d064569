"""`numclip ensemble`: one answer of several runs, from their prediction files; no model is loaded."""

import logging
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from numclip_lightning.calibration import Choices, Intervals, Sets
from numclip_lightning.report.joined_run import join_runs

__all__ = ["ensemble"]

_log = logging.getLogger(__name__)


def ensemble(words: Sequence[str]) -> int:
    """Run `numclip ensemble RUN RUN ... --output DIR`.

    Args:
        words: The words after `numclip ensemble`.

    Returns:
        The exit code 0.

    Raises:
        ConfigError: If runs are of other scales, or an argument is wrong.
        DataError: If runs are of other images.
    """
    parser = ArgumentParser(
        prog="numclip ensemble",
        usage="numclip ensemble RUN RUN... --output DIR [--coverage=0.9]",
        description="Join the predictions of runs on the same images: mean numbers, mean probabilities, and by the law "
        "of total variance how unsure each is and where they disagree. The folder is like that of a run.",
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="+", type=str, help="Folders of runs: tested, or with predictions.")
    parser.add_argument("--output", type=str, required=True, help="The folder to write to.")
    parser.add_argument("--coverage", type=float | None, default=0.9,
                        help="The share of true numbers that intervals shall hold; null writes none.")  # fmt: skip
    parser.add_argument("--intervals", type=Intervals, default="normalised", help="absolute, normalised or quantiles.")
    parser.add_argument("--sets", type=Sets, default="shortest", help="shortest or rps.")
    parser.add_argument("--by", type=str | None, help="Groups that each shall have the coverage: level, or a column.")
    given = parser.parse_args(list(words))
    kinds = {name: given[name] for name in ("intervals", "sets", "by")}
    choices = None if given.coverage is None else Choices(coverage=given.coverage, **kinds)
    facts = join_runs([Path(run) for run in given.runs], Path(given.output), choices)
    for note in facts["notes"]:
        _log.warning("%s", note)
    for file, images in facts["images"].items():
        disagreement = facts["disagreement"][file]
        _log.info("%s: %d images of %d runs, mean disagreement %.4g", file, images, len(given.runs), disagreement)
    _log.info("the ensemble is in %s", given.output)
    return 0

"""`numclip calibrate`: intervals, sets and a temperature from files of predictions, of this program or of any other."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from jsonargparse import ArgumentParser, Namespace

from numclip_lightning import __version__
from numclip_lightning.calibration import (
    Calibration,
    Choices,
    Intervals,
    LevelValues,
    Sets,
    calibrate,
    level_spread,
    write_calibration,
)
from numclip_lightning.calibration.temperature import TemperatureBy
from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.report.answers import (
    answers_of,
    levels_in,
    phrases_of,
    read_answers,
    read_cells,
    read_scale,
    scale_in,
)
from numclip_lightning.report.decisions import choose_cut
from numclip_lightning.report.trust import decision_sections, interval_columns, trust_of, trust_sections
from numclip_lightning.scale import OrdinalScale

__all__ = ["calibrate_command"]

_log = logging.getLogger(__name__)


def calibrate_command(words: Sequence[str]) -> int:
    """Run `numclip calibrate --predictions VAL.csv [--apply TEST.csv] --output DIR`.

    Args:
        words: The words after `numclip calibrate`.

    Returns:
        The exit code 0.

    Raises:
        ConfigError: If an argument is wrong.
        DataError: If a file can't be used.
    """
    given = _parse(words)
    known, applied, config, output = _places(given)
    frame = read_answers(known, targets=True)
    scale = read_scale(config) if config else None
    values = LevelValues.of(scale) if scale else scale_in(frame)
    choices = Choices(**{name: given[name] for name in ("coverage", "intervals", "sets", "by", "temperature")})
    found = _calibrate(frame, choices, values, scale, known)
    for note in found.notes:
        _log.warning("%s", note)
    output.mkdir(parents=True, exist_ok=True)
    write_calibration(output, found)
    _log.info("calibrated on %d images; written to %s", found.n, output)
    if applied is None:
        return 0
    cells, new = read_cells(applied), read_answers(applied, targets=False)
    added = interval_columns(new, found)
    if "spread" not in new and values is not None and (shares := answers_of(new).probabilities) is not None:
        added.insert(0, "spread", level_spread(shares, values))
    cells.drop(columns=[name for name in added if name in cells]).join(added).to_csv(
        output / "predictions.csv", index=False, errors="surrogateescape"
    )
    if "target" in new:
        unit = scale.unit if scale else ""
        whole = new.drop(columns=[name for name in added if name in new]).join(added)
        parts = _report(frame, whole, found, given, unit)
        text = "\n\n".join(["# How far these predictions can be trusted", *parts]) + "\n"
        (output / "trust.md").write_text(text, encoding="utf-8")
        print(text)  # noqa: T201
    elif given.decide is not None:
        raise ConfigError(f"--decide needs true numbers, a column target; {applied} has none.")
    return 0


def _parse(words: Sequence[str]) -> Namespace:
    parser = ArgumentParser(
        prog="numclip calibrate",
        usage="numclip calibrate (--run RUN | --predictions VAL.csv --apply TEST.csv) --output DIR [--KEY=VALUE]...",
        description="Find intervals, sets of phrases and a temperature on predictions of validation images, and put "
        "them beside other predictions. Writes calibration.json, predictions.csv and, where these have true "
        "numbers, trust.md. Files need a column value and for validation target; with spread and p(PHRASE) more can "
        "be done. See docs/trust.md.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--run", type=str | None, help="A run folder, which has both files and the scale.")
    add("--predictions", type=str | None, help="Predictions of images that were not trained on, with true numbers.")
    add("--apply", type=str | None, help="Predictions of other images, which get the intervals.")
    add(
        "--config",
        type=str | None,
        help="The scale: the config.yaml of a run, or a YAML file with minimum, maximum, ...",
    )
    add("--output", type=str, required=True, help="The folder to write to.")
    add("--coverage", type=float, default=0.9, help="The share of true numbers that intervals shall hold.")
    add("--intervals", type=Intervals, default="normalised", help="absolute, normalised or quantiles.")
    add("--sets", type=Sets, default="shortest", help="shortest or rps.")
    add("--by", type=str | None, help="Groups that each shall have the coverage: level, or the name of a column.")
    add("--temperature", type=TemperatureBy, default="nll", help="What the temperature is chosen by, nll or rps.")
    add(
        "--groups", type=list[str], default=[], help="Further columns to show the coverage by, such as [attribute_sex]."
    )
    add("--decide", type=float | None, help="A number to decide about: is the true number at least this?")
    add("--recall", type=float, default=0.95, help="The share of those above it that shall pass.")
    return parser.parse_args(list(words))


def _places(given: Namespace) -> tuple[Path, Path | None, Path | None, Path]:
    """Return the files to calibrate on and to apply to, the configuration, and the folder to write to."""
    run = Path(given.run) if given.run else None
    if run and not run.is_dir():
        raise ConfigError(f"--run {run} is no folder; give the folder of a run.")
    known = Path(given.predictions) if given.predictions else run and run / "validation_predictions.csv"
    if known is None:
        raise ConfigError("give --predictions, a file with the predictions of validation images, or --run.")
    if run and not known.is_file():
        raise DataError(
            f"{known} is not there: an older run, or one without validation images; validate its checkpoint."
        )
    tested = run / "test_predictions.csv" if run and (run / "test_predictions.csv").is_file() else None
    applied = Path(given.apply) if given.apply else tested
    if applied and applied.resolve() == known.resolve():
        raise ConfigError(f"--apply is {applied} too, on which intervals hold by construction; give other images.")
    output = Path(given.output)
    if run and output.resolve() == run.resolve():
        raise ConfigError(f"--output {output} is the run itself, whose files would be replaced; give another folder.")
    return known, applied, Path(given.config) if given.config else run, output


def _calibrate(
    frame: pd.DataFrame, choices: Choices, values: LevelValues | None, scale: OrdinalScale | None, place: Path
) -> Calibration:
    phrases = phrases_of(frame)
    if scale and phrases and phrases != scale.phrases:
        raise DataError(f"{place} has the phrases {', '.join(phrases)}; the scale has {', '.join(scale.phrases)}.")
    if choices.by is not None and choices.by != "level" and choices.by not in frame:
        raise DataError(f"{place} has no column {choices.by}, which --by names; it has {', '.join(frame.columns)}.")
    return calibrate(
        answers_of(frame, choices.by), choices, values=values, phrases=phrases or (scale.phrases if scale else ()),
        level=None if values else levels_in(frame), source={"file": place.name, "numclip_lightning": __version__},
    )  # fmt: skip


def _report(known: pd.DataFrame, new: pd.DataFrame, found: Calibration, given: Namespace, unit: str) -> list[str]:
    """Return what is seen on predictions with true numbers, as Markdown."""
    by = [found.choices.by] if found.choices.by not in (None, "level") else []
    parts = trust_sections(trust_of(new, found, [*by, *given.groups]), found, unit)
    if given.decide is None:
        return parts
    decision = choose_cut(known["value"], known["target"], given.decide, given.recall)
    return [*parts, *decision_sections(new["value"].to_numpy(), new["target"].to_numpy(), decision, unit)]

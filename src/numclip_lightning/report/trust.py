"""How far predictions can be trusted, as Markdown: coverage, calibration, the error of the surest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from numclip_lightning.calibration import SEPARATOR, Calibration, LevelValues
from numclip_lightning.errors import DataError
from numclip_lightning.report.answers import answers_of, levels_in, phrases_of
from numclip_lightning.report.coverage import coverage_table, has_intervals
from numclip_lightning.report.decisions import Decision, decision_table
from numclip_lightning.report.reliability import (
    central_coverage,
    expected_calibration_error,
    pit_histogram,
    reliability,
    selective_error,
    temperature_effect,
)
from numclip_lightning.report.tables import MARKDOWN, markdown_grid

__all__ = [
    "FEWEST",
    "Trust",
    "coverage_sections",
    "decision_sections",
    "interval_columns",
    "trust_of",
    "trust_sections",
]

# Groups of fewer images say nothing about a share.
FEWEST = 30
_MOVES = (
    "The expected number moves with the temperature, the most probable phrase does not. MAE here is that of the number "
    "expected from the phrases' probabilities, which need not be the method's own."
)


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What can be said of predictions with true numbers; each table is None where the predictions lack what it needs.

    Attributes:
        coverage: Tables of `coverage_table` by their names: `all images`, `true_phrase` and each further column.
        reliability: See `reliability`.
        ece: The expected calibration error of that table.
        central: See `central_coverage`.
        pit: See `pit_histogram`.
        selective: See `selective_error`.
        temperature: See `temperature_effect`.
        mae: The mean absolute error of the predicted numbers.
    """

    coverage: dict[str, pd.DataFrame]
    reliability: pd.DataFrame | None
    ece: float | None
    central: pd.DataFrame | None
    pit: pd.DataFrame | None
    selective: pd.DataFrame | None
    temperature: pd.DataFrame | None
    mae: float


def interval_columns(frame: pd.DataFrame, calibration: Calibration) -> pd.DataFrame:
    """Return the columns that a calibration adds to predictions: lower, upper, and phrases_in_set if it has phrases.

    Args:
        frame: See `read_answers`.
        calibration: The calibration.

    Raises:
        DataError: If the predictions lack what it needs, or have other phrases.
    """
    if calibration.phrases and phrases_of(frame) not in ([], list(calibration.phrases)):
        raise DataError(
            f"the predictions have the phrases {', '.join(phrases_of(frame))}; the calibration is of "
            f"{', '.join(calibration.phrases)}."
        )
    answers = answers_of(frame, calibration.choices.by)
    lower, upper = calibration.intervals_of(answers)
    found = pd.DataFrame({"lower": lower, "upper": upper}, index=frame.index)
    sets = calibration.sets_of(answers) if calibration.phrases else None
    if sets is not None:
        names = [calibration.phrases[first : last + 1] for first, last in zip(*sets, strict=True)]
        found["phrases_in_set"] = [SEPARATOR.join(name) for name in names]
    return found


def trust_of(
    frame: pd.DataFrame, calibration: Calibration | None, columns: Sequence[str] = (), values: LevelValues | None = None
) -> Trust:
    """Compute all that predictions give.

    Args:
        frame: Predictions with targets, see `read_answers`; with intervals, if they have any.
        calibration: That of their run; None if it has none.
        columns: Columns whose values are groups.
        values: The numbers of the levels; None takes those of the calibration, if they are known.
    """
    answers, values = answers_of(frame), values or (calibration.values if calibration else None)
    shares, target = answers.probabilities, frame["target"].to_numpy("float64")
    level = levels_in(frame)
    if level is None and values is not None:
        level = values.level_at(target).tolist()
    coverage = {}
    if has_intervals(frame):
        named = [name for name in ("true_phrase", *columns) if name in frame]
        coverage = {"all images": coverage_table(frame)}
        coverage |= {name: coverage_table(frame, name, fewest=FEWEST) for name in dict.fromkeys(named)}
    table = None if shares is None or level is None else reliability(shares, level)
    over_values = shares is not None and values is not None
    temperature = calibration.temperature if calibration else None
    unsure, kept = answers.spread, answers.quantiles
    if unsure is None and has_intervals(frame):
        unsure = (frame["upper"] - frame["lower"]).to_numpy("float64")
    return Trust(
        coverage=coverage,
        reliability=table,
        ece=None if table is None else expected_calibration_error(table),
        central=central_coverage(shares, values, target, quantiles=kept) if over_values else None,  # type: ignore[arg-type]
        pit=pit_histogram(shares, values, target, quantiles=kept) if over_values else None,  # type: ignore[arg-type]
        selective=None if unsure is None or np.ptp(unsure) == 0 else selective_error(answers.value, target, unsure),
        temperature=temperature_effect(shares, values, target, temperature)  # type: ignore[arg-type]
        if over_values and temperature is not None
        else None,
        mae=float(np.abs(answers.value - target).mean()),
    )


def trust_sections(trust: Trust, calibration: Calibration | None, unit: str = "") -> list[str]:
    """Write what is known as Markdown, a string for each paragraph or table.

    Args:
        trust: See `trust_of`.
        calibration: That of the run.
        unit: The unit of the numbers.
    """
    parts = [f"Mean absolute error {trust.mae:.4g}{f' {unit}' if unit else ''}."]
    if trust.coverage and calibration:
        asked = f"{100 * calibration.choices.coverage:g} %"
        by = f", by {calibration.choices.by}" if calibration.choices.by else ""
        kind = f"{calibration.choices.intervals} intervals{by}, found on {calibration.n} validation images"
        parts += [f"## Are {asked} of the true numbers in their intervals?", f"Asked for: {asked} ({kind})."]
        parts += [f"Note: {note}" for note in calibration.notes]
    elif trust.coverage:
        parts.append("## How many true numbers are in their intervals?")
    parts += coverage_sections(trust.coverage)
    if trust.temperature is not None:
        parts += ["## Before and after the temperature", markdown_grid(_temperature(trust.temperature)), _MOVES]
    if trust.reliability is not None:
        heading = "## Is the phrase right as often as it is said to be?"
        parts += [heading, markdown_grid(_reliability(trust.reliability)), f"ECE {100 * (trust.ece or 0):.1f} %."]
        if trust.reliability["n"].sum() < 500:
            parts.append("With fewer than 500 images an ECE is noisy, and too high.")
    if trust.central is not None and trust.pit is not None:
        parts += ["## Are the distributions over numbers as wide as they should be?", markdown_grid(_central(trust))]
    if trust.selective is not None:
        parts += ["## Is the method better where it is surer?", markdown_grid(_selective(trust.selective))]
    return parts


def coverage_sections(tables: dict[str, pd.DataFrame]) -> list[str]:
    """Write tables of coverage as Markdown, each with what its groups are."""
    parts = []
    for name, table in tables.items():
        heading = {"all images": "Images", "true_phrase": "True phrase"}.get(name, name)
        if table.empty:
            parts.append(f"No group of {heading} has {FEWEST} images.")
            continue
        shown = pd.DataFrame({
            MARKDOWN.escape(heading): table["group"].map(MARKDOWN.escape),
            "n": table["n"],
            "Coverage": table["coverage"].map(_percent),
            "95 % interval": table["low"].map(_percent) + " to " + table["high"].map(_percent),
            "Mean width": table["width"].map("{:.4g}".format),
        })  # fmt: skip
        if table["set_size"].notna().any():
            shown["Set holds the phrase"] = table["set_coverage"].map(_percent)
            shown["Phrases in a set"] = table["set_size"].map("{:.2f}".format)
        parts.append(markdown_grid(shown))
    return parts


def decision_sections(value: np.ndarray, target: np.ndarray, decision: Decision, unit: str = "") -> list[str]:
    """Write what a decision does on images that its cut was not chosen on, as Markdown."""
    table = decision_table(value, target, decision)
    shown = pd.DataFrame({
        "Rate": table["rate"], "n": table["n"], "Share": table["share"].map(_percent),
        "95 % interval": table["low"].map(_percent) + " to " + table["high"].map(_percent),
    })  # fmt: skip
    of = f" {unit}" if unit else ""
    said = (
        f"An image passes if its predicted number is at least {decision.cut:.4g}{of}: the highest cut at which "
        f"{_percent(decision.recall)} of the {decision.n} validation images of {decision.threshold:g}{of} or more pass."
    )
    return [f"## {decision.threshold:g}{of} or more?", said, markdown_grid(shown)]


def _percent(share: float) -> str:
    return "" if pd.isna(share) else f"{100 * share:.1f} %"


def _temperature(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({
        "Temperature": table["temperature"].map("{:.3g}".format), "NLL": table["nll"].map("{:.3f}".format),
        "RPS": table["rps"].map("{:.3f}".format), "ECE": table["ece"].map(_percent),
        "In the central 90 %": table["central_90"].map(_percent), "MAE": table["mae"].map("{:.4g}".format),
    })  # fmt: skip


def _reliability(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({
        "Said": table["confidence"].map(_percent), "Right": table["accuracy"].map(_percent), "n": table["n"],
    })  # fmt: skip


def _central(trust: Trust) -> pd.DataFrame:
    assert trust.central is not None
    assert trust.pit is not None
    central = pd.DataFrame({
        "Part of the distribution": trust.central["nominal"].map(lambda share: f"central {_percent(share)}"),
        "Should hold": trust.central["nominal"].map(_percent), "Holds": trust.central["coverage"].map(_percent),
    })  # fmt: skip
    tenths = pd.DataFrame({
        "Part of the distribution": [f"tenth {number + 1}" for number in range(len(trust.pit))],
        "Should hold": (trust.pit["high"] - trust.pit["low"]).map(_percent), "Holds": trust.pit["share"].map(_percent),
    })  # fmt: skip
    return pd.concat([central, tenths], ignore_index=True)


def _selective(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({
        "Surest": table["share"].map(_percent), "n": table["n"], "MAE": table["mae"].map("{:.4g}".format),
    })  # fmt: skip

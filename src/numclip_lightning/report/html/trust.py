"""Sections on how far a single number can be trusted: reliability of the levels, and images that don't belong."""

from collections.abc import Sequence

import numpy as np

from numclip_lightning.report.html.elements import Cell, Element, Note, Section, Table, cell, percent
from numclip_lightning.report.html.errors import NO_TRUTH, sections_of
from numclip_lightning.report.html.pictures import draw_grid, draw_reliability
from numclip_lightning.report.reliability import expected_calibration_error, reliability
from numclip_lightning.report.reported import ReportedRun

__all__ = ["off_scale_section", "prototype_section", "reliability_section"]

_BINS = 15
_NO_PROBABILITIES = (
    "there are no probabilities of levels (columns `p(...)`), or no true levels in words (`true_phrase`)."
)
_MOST_CANDIDATES = 20


def reliability_section(runs: Sequence[ReportedRun]) -> Section:
    """Show whether levels are right as often as their probability says."""

    def reason(run: ReportedRun) -> str:
        if not run.has_truth:
            return NO_TRUTH
        return _NO_PROBABILITIES if run.probabilities is None or run.levels is None else ""

    def show(run: ReportedRun) -> list[Element]:
        assert run.probabilities is not None
        assert run.levels is not None
        sure, right = run.probabilities.max(axis=1), run.levels[0] == run.levels[1]
        table = reliability(run.probabilities, run.levels[1], _BINS)
        said, share, images = (table[name].to_numpy("float64") for name in ("confidence", "accuracy", "n"))
        ece = expected_calibration_error(table)
        few = "" if len(sure) >= 500 else f" {_BINS} bins of {len(sure)} images are noisy."
        note = (
            f"Expected calibration error {100 * ece:.1f} %: the mean distance from the dashed line, weighted by "
            f"images. On average the run gives its level {percent(sure.mean())}, and {percent(right.mean())} are "
            f"right.{few}"
        )
        return [draw_reliability(said, share, images, ece), Note(note)]

    lead = "If the run says 70 % for its level, is it right in 70 of 100 such images?"
    parts, missing = sections_of(runs, show, reason)
    return Section("reliability", "Is it as sure as it is right?", lead, parts, missing)


def prototype_section(runs: Sequence[ReportedRun]) -> Section:
    """Show how alike the words of the levels are to the model, and whether they are in order."""

    def reason(run: ReportedRun) -> str:
        if run.prototypes is None:
            return (
                "no prototypes are kept (`prototypes.json`, which `numclip test` writes for methods that read words)."
            )
        return "" if len(run.prototypes[0]) > 1 else "there is one prompt alone."

    def show(run: ReportedRun) -> list[Element]:
        assert run.prototypes is not None
        phrases, similarity = run.prototypes
        low = float(similarity.min())
        share, pairs = ordinality(similarity)
        alt = (
            f"Cosine similarity of the prototypes of {len(phrases)} prompts, from {low:.2f} to 1. Ordinality "
            f"{percent(share)}: in so many of {pairs} steps away from a level the similarity falls."
        )
        caption = f"Cosine similarity, {low:.2f} to 1. Ordinality: {100 * share:.0f} % of {pairs} steps."
        return [draw_grid(similarity, phrases, "", "", alt, caption, (low, 1.0))]

    lead = (
        "A prototype is the model's picture of a phrase. Where order was learned, similarity falls step by step away "
        "from the diagonal; ordinality is the share of the steps at which it does."
    )
    parts, missing = sections_of(runs, show, reason)
    return Section("prototypes", "Do the words stand in order?", lead, parts, missing)


def ordinality(similarity: np.ndarray) -> tuple[float, int]:
    """Return the share of i <= j with S[i, j] > S[i, j + 1], and how many such pairs there are.

    Source: Li et al., "OrdinalCLIP", NeurIPS 2022, section 4.4.
    """
    rows, columns = np.triu_indices(len(similarity) - 1)
    falls = similarity[rows, columns] > similarity[rows, columns + 1]
    return (float(falls.mean()) if len(falls) else float("nan")), len(falls)


def off_scale_section(runs: Sequence[ReportedRun]) -> Section:
    """List the images that least look as if they belonged on the scale."""

    def reason(run: ReportedRun) -> str:
        return "" if "on_scale" in run.frame else "no scores of belonging are kept (column `on_scale`)."

    def show(run: ReportedRun) -> list[Element]:
        frame = run.frame.nsmallest(_MOST_CANDIDATES, "on_scale")
        rows = [
            [Cell(row["path"]), cell(row["on_scale"], 3), cell(row["value"])] for row in frame.to_dict("records")
        ]  # fmt: skip
        middle = run.frame["on_scale"].median()
        return [
            Table("Candidates, the least likely first", ["Image", "on_scale", "Value"], rows),
            Note(
                f"Half of all {len(run.frame):,} images have a score above {middle:.3f}. A low score is a hint, not "
                "a proof."
            ),
        ]

    lead = "A model reads a number from any image, also from one that shows nothing of the kind. Look at these first."
    parts, missing = sections_of(runs, show, reason)
    return Section("off-scale", "Which images may not belong?", lead, parts, missing)

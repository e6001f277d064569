"""Sections on the levels: whether they are as sure as they are right, and whether their words stand in order."""

from collections.abc import Sequence

import numpy as np

from numclip_lightning.report.html.elements import Element, Note, Section, percent
from numclip_lightning.report.html.errors import NO_TRUTH, sections_of
from numclip_lightning.report.html.pictures import draw_grid, draw_reliability
from numclip_lightning.report.reliability import expected_calibration_error, reliability
from numclip_lightning.report.reported import ReportedRun

__all__ = ["ordinality", "prototype_section", "reliability_section"]

_BINS = 15
_NO_PROBABILITIES = (
    "there are no probabilities of levels (columns `p(...)`), or no true levels in words (`true_phrase`)."
)


def reliability_section(runs: Sequence[ReportedRun]) -> Section:
    """Show whether levels are right as often as their probability says."""

    def reason(run: ReportedRun) -> str:
        if not run.has_truth:
            return NO_TRUTH
        if run.probabilities is None or run.levels is None:
            return _NO_PROBABILITIES
        return "" if run.has_distributions else "the probabilities (columns `p(...)`) have no sum of 1."

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

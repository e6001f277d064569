"""The section on images that may not belong on the scale at all."""

from collections.abc import Sequence

from numclip_lightning.errors import DataError
from numclip_lightning.report.html.elements import Cell, Element, Note, Section, Table, cell, percent
from numclip_lightning.report.html.errors import sections_of
from numclip_lightning.report.html.gallery import Loader, gallery_of
from numclip_lightning.report.off_scale import OFF_SCALE, off_scale_separation
from numclip_lightning.report.reported import ReportedRun

__all__ = ["off_scale_section"]

_MOST_CANDIDATES = 20
_SHOWN = 12


def off_scale_section(runs: Sequence[ReportedRun], load: Loader | None) -> Section:
    """List the images that least look as if they belonged on the scale.

    Args:
        runs: The runs.
        load: Where images come from; None shows none.
    """

    def reason(run: ReportedRun) -> str:
        if "on_scale" in run.frame and run.frame["on_scale"].notna().any():
            return ""
        return "no scores of belonging are kept (column `on_scale`, which `numclip test --on_scale` and `predict` add)."

    def show(run: ReportedRun) -> list[Element]:
        frame = run.frame.nsmallest(_MOST_CANDIDATES, "on_scale")
        known = [name for name in ("rejected", "shows") if name in frame]
        rows = [
            [
                Cell(str(row["path"])), cell(row["on_scale"], 3), cell(row["value"]),
                *(Cell(str(row[name])) for name in known),
            ]
            for row in frame.to_dict("records")
        ]  # fmt: skip
        found: list[Element] = []
        if load:
            found += gallery_of(run, {"The least likely": frame.index[:_SHOWN]}, load)
        columns = ["Image", "on_scale", "Value", *(name.capitalize() for name in known)]
        found += [Table("Candidates, the least likely first", columns, rows), Note(_words(run))]
        return found

    lead = (
        "A model reads a number from any image, also from one that shows nothing of the kind. Look at these first. "
        "`on_scale` is the share of validation images that look no more like the scale than this one."
    )
    parts, missing = sections_of(runs, show, reason)
    return Section("off-scale", "Which images may not belong?", lead, parts, missing, wide=True)


def _words(run: ReportedRun) -> str:
    """Say what the scores are worth, where that was measured."""
    low = float((run.frame["on_scale"] <= _LOW).mean())
    text = (
        f"{percent(low)} of {len(run.frame):,} images have an `on_scale` of at most {_LOW}; of images such as those "
        f"of the validation about {percent(_LOW)} would. A low score is a hint, no proof."
    )
    if run.folder is None or not (run.folder / OFF_SCALE).is_file():
        return text
    try:
        found = off_scale_separation(run.file, run.folder / OFF_SCALE)
    except DataError as error:
        return f"{text} How well the score was tested can't be said: {error}"
    return (
        f"{text} On {found.off:,} images that are known not to belong the score was tested: AUROC {found.auroc:.3f} "
        f"({found.auroc_low:.3f} to {found.auroc_high:.3f}); where {percent(found.recall)} of the test images pass, so "
        f"do {percent(found.false_positives)} ({percent(found.false_positives_low)} to "
        f"{percent(found.false_positives_high)}) of those."
    )


_LOW = 0.05

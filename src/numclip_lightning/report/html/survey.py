"""What `numclip check` found in a dataset, as a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numclip_lightning.errors import format_number
from numclip_lightning.report.html.drawing import ACCENT, drawing, styled, to_svg
from numclip_lightning.report.html.elements import Cell, Element, Figure, Note, Section, Table, cell, percent, unit_of
from numclip_lightning.report.html.writing import render, write_html
from numclip_lightning.report.survey import verdict

__all__ = ["survey_sections", "write_survey_page"]


def write_survey_page(facts: Mapping[str, Any], output: Path) -> Path:
    """Write the page; `facts` are those of check.json. Returns the file."""
    images = sum(part["images"] for part in facts["parts"])
    return write_html(
        render("The images and their numbers", f"{images:,} images; {verdict(facts)}", survey_sections(facts),
               program="numclip check"),
        output,
    )  # fmt: skip


def survey_sections(facts: Mapping[str, Any]) -> list[Section]:
    """Return the sections of the page."""
    parts = [part for part in facts["parts"] if not part["missing"]]
    return [
        _splits(facts["parts"], facts["unit"]),
        _numbers(parts, facts["unit"]),
        _files(parts),
        _faults(parts),
        _twice("twice", "Images twice", "Files of equal content and equal numbers.", facts["copies"]),
        _twice(
            "contradictions", "Images with two numbers",
            "Files of equal content and different numbers: correct or remove one of each two.", facts["contradictions"],
        ),
        _near(facts["near"]),
        _groups(facts["shared_groups"]),
        _attributes(facts["attributes"]),
        _variety(facts["variety"]),
    ]  # fmt: skip


def _splits(parts: Sequence[Mapping[str, Any]], unit: str) -> Section:
    columns = ["Split", "Images", "Groups", "Lowest", "Median", "Highest", "Different", "Outside the scale"]
    rows = [
        [Cell(part["name"]), cell(part["images"], 0), cell(part["groups"], 0)]
        + [_number(part.get(name)) for name in ("low", "median", "high", "values", "off_scale")]
        for part in parts
    ]
    notes: list[Element] = [Note(f"{part['name']} is {part['missing']}") for part in parts if part["missing"]]
    caption = f"The splits and their numbers{unit_of(unit)}"
    return Section("splits", "Splits", "", [("", [Table(caption, columns, rows), *notes])], wide=True)


def _numbers(parts: Sequence[Mapping[str, Any]], unit: str) -> Section:
    shown = [(part["name"], _counted(part, unit)) for part in parts if "histogram" in part]
    missing = "" if shown else "no split has numbers."
    return Section("numbers", "Numbers", "How many images there are of each number or phrase.", shown, missing)


def _counted(part: Mapping[str, Any], unit: str) -> list[Element]:
    elements: list[Element] = [_draw(part, unit)]
    if "levels" in part:
        rows = [
            [Cell(name), cell(count, 0), Cell(percent(count / part["images"]), count / part["images"])]
            for name, count in part["levels"].items()
        ]
        elements.append(Table("Images of each phrase", ["Phrase", "Images", "Share"], rows))
    return elements


@styled
def _draw(part: Mapping[str, Any], unit: str) -> Figure:
    figure, (axes,) = drawing(5.2, 2.6)
    for low, high, count in part["histogram"]:
        if high > low:
            axes.bar(low, count, width=0.95 * (high - low), align="edge", color=ACCENT)
        else:
            axes.bar(
                low, count, width=0.8 * (part["high"] - part["low"] or 1) / max(len(part["histogram"]), 2), color=ACCENT
            )
    axes.set(xlabel=f"number{unit_of(unit)}", ylabel="images")
    alt = (
        f"Histogram of {part['images']:,} numbers from {format_number(part['low'])} to {format_number(part['high'])}, "
        f"median {format_number(part['median'])}."
    )
    return Figure(to_svg(figure, alt), f"{part['name']}: {part['images']:,} images.")


def _files(parts: Sequence[Mapping[str, Any]]) -> Section:
    rows = [
        [Cell(part["name"])]
        + [Cell("{}x{}".format(*part["sizes"][name]), part["sizes"][name][0] * part["sizes"][name][1])
           for name in ("smallest", "median", "largest")]
        + [Cell(", ".join(f"{count:,} {mode}" for mode, count in part["modes"].items()))]
        for part in parts
        if part["sizes"]
    ]  # fmt: skip
    table = Table("Sizes by pixels, and kinds of pixels", ["Split", "Smallest", "Median", "Largest", "Kinds"], rows)
    missing = "" if rows else "the images are generated, or none could be read."
    return Section("files", "Files", "", [("", [table])] if rows else [], missing, wide=True)


def _faults(parts: Sequence[Mapping[str, Any]]) -> Section:
    named = [(part, fault) for part in parts for fault in part["faults"]["first"]]
    number = sum(part["faults"]["number"] for part in parts)
    rows = [
        [Cell(part["name"]), Cell(fault["path"]), Cell(fault["where"]), Cell(fault["reason"])] for part, fault in named
    ]
    caption = _shown(len(rows), number, "Images that can't be used")
    table = Table(caption, ["Split", "Image", "Where", "Reason"], rows)
    missing = "" if rows else "every image can be read."
    return Section(
        "faults", "Faults", "Images that can't be used.", [("", [table])] if rows else [], missing, wide=True
    )


def _twice(key: str, title: str, lead: str, pairs: Mapping[str, Any], closeness: str = "") -> Section:
    columns = ["Image", "Number", "Split", "The other", "Number", "Split", *([closeness] if closeness else [])]
    rows = [
        [Cell(pair["path"]), _number(pair["target"]), Cell(pair["part"])]
        + [Cell(pair["other_path"]), _number(pair["other_target"]), Cell(pair["other_part"])]
        + ([cell(pair["cosine"], 4)] if closeness else [])
        for pair in pairs["first"]
    ]
    across = f" {pairs['across']:,} of them are in two splits." if pairs["across"] else ""
    table = Table(_shown(len(rows), pairs["number"], "pairs"), columns, rows)
    missing = "" if rows else "there are none."
    return Section(key, title, lead + across, [("", [table])] if rows else [], missing, wide=True)


def _near(near: Mapping[str, Any] | None) -> Section:
    title = "Images nearly the same"
    if near is None:
        return Section("near", title, "", missing="it needs a model section, whose image tower compares the images.")
    lead = f"Images whose features, less their mean, have a cosine of {near['least']:g} or more."
    return _twice("near", title, lead, near, "Cosine")


def _groups(shared: Sequence[Mapping[str, Any]]) -> Section:
    rows = [
        [Cell(" and ".join(found["parts"])), cell(found["groups"], 0), Cell(", ".join(found["first"]))]
        for found in shared
    ]
    table = Table("Groups that two splits share", ["Splits", "Groups", "Such as"], rows)
    missing = "" if rows else "no two splits share a group, or there are none."
    return Section("groups", "Shared groups", "", [("", [table])] if rows else [], missing)


def _attributes(attributes: Mapping[str, Any]) -> Section:
    shown: list[tuple[str, list[Element]]] = []
    for name, found in attributes.items():
        rows = [
            [Cell(value or "(unknown)"), cell(facts["images"], 0), cell(facts["mean"]), cell(facts["deviation"])]
            for value, facts in found["values"].items()
        ]
        share = found["explained"]
        note = [] if share is None else [Note(f"It explains {percent(share)} of the variance of the numbers.")]
        table = Table(f"Numbers by {name}", [name, "Images", "Mean", "Deviation"], rows)
        shown.append((name, [table, *note]))
    missing = "" if shown else "`data.attributes` names no columns."
    return Section(
        "attributes", "Attributes", "What else is known of the images, against their numbers.", shown, missing
    )


def _variety(variety: Mapping[str, Any] | None) -> Section:
    title = "Along and across the scale"
    if variety is None or variety["explained"] is None:
        return Section("variety", title, "", missing="it needs a model section with a scale and a backbone.")
    rows = [
        [Cell(name), _number(number if number is None else round(number, 1))]
        for name, number in variety["diversity"].items()
    ]
    lead = (
        f"{percent(variety['explained'])} of the variance of the image features lies between the phrases: that much of "
        "what the image tower sees is the scale. The others are what else varies."
    )
    caption = "In how many directions the images of a phrase differ (effective number; it grows with their number)"
    return Section("variety", title, lead, [("", [Table(caption, ["Phrase", "Directions"], rows)])])


def _number(number: float | None) -> Cell:
    return Cell("\N{EN DASH}", float("nan")) if number is None else Cell(format_number(number), number)


def _shown(shown: int, number: int, what: str) -> str:
    return f"{what}: {number:,}" + (f", the first {shown:,}" if shown < number else "")

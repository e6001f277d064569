"""The history of a sweep as a page, from its facts alone (sweep.json)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics import measure_of
from numclip_lightning.report.html.drawing import ACCENT, INK, MARK, SOFT, drawing, plain, styled, to_svg
from numclip_lightning.report.html.elements import (
    NOTHING,
    Cell,
    Element,
    Figure,
    Note,
    Section,
    Table,
    cell,
    percent,
)
from numclip_lightning.report.html.writing import render, write_html
from numclip_lightning.report.sweep import best_so_far, count_states

__all__ = ["sweep_sections", "write_sweep_page"]

_Facts = Mapping[str, Any]
_ENDED = ("finished", "stopped early")


def write_sweep_page(facts: _Facts, output: Path) -> Path:
    """Write the page; `facts` are those of sweep.json. Returns the file."""
    return write_html(
        render(f"Sweep: {Path(facts['space']).name}", count_states(facts), sweep_sections(facts),
               program="numclip sweep"),
        output,
    )  # fmt: skip


def sweep_sections(facts: _Facts) -> list[Section]:
    """Return the sections of the page."""
    return [
        _best(facts),
        _progress(facts),
        _choices(facts),
        _importances(facts),
        _courses(facts),
        _trials(facts),
        _made(facts),
    ]


def _best(facts: _Facts) -> Section:
    if facts["best"] is None:
        return Section("best", "The best trial", "", missing="no trial has come to its end.")
    trial = facts["trials"][facts["best"]]
    rows = [[Cell(name), _value(value)] for name, value in {**facts["constants"], **trial["values"]}.items()]
    table = Table(f"Trial {trial['number']}: {_title(facts)} {_text(facts, trial['value'])}", ["Key", "Value"], rows)
    lead = (
        "Its configuration is `best.yaml`. The number is of validation images, and the best of several: on other "
        "images expect a worse one. No test image was looked at."
    )
    return Section("best", "The best trial", lead, [("", [table])])


def _progress(facts: _Facts) -> Section:
    title, best = "Best so far", best_so_far(facts)
    if not best:
        return Section("progress", title, "", missing="no trial has come to its end.")
    return Section(
        "progress", title, "Each trial, and the best of those up to it.", [("", [_draw_progress(facts, best)])]
    )


@styled
def _draw_progress(facts: _Facts, best: Sequence[tuple[int, float]]) -> Figure:
    figure, (axes,) = drawing(5.2, 3.2)
    for state, colour, marker in (("finished", ACCENT, "o"), ("stopped early", SOFT, "x")):
        shown = [trial for trial in facts["trials"] if trial["state"] == state and trial["value"] is not None]
        if shown:
            numbers, values = [trial["number"] for trial in shown], [trial["value"] for trial in shown]
            axes.scatter(numbers, values, s=22, color=colour, marker=marker, label=state)
    axes.step(
        [number for number, _ in best],
        [value for _, value in best],
        where="post",
        color=MARK,
        linewidth=1.4,
        label="best so far",
    )
    axes.set(xlabel="trial", ylabel=plain(_title(facts)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best")
    alt = (
        f"{_title(facts)} of the trials. The best so far goes from {_text(facts, best[0][1])} at trial {best[0][0]} to "
        f"{_text(facts, best[-1][1])}."
    )
    return Figure(to_svg(figure, alt), "Trials that were stopped early have the best number that they came to.")


def _choices(facts: _Facts) -> Section:
    """Return a drawing for each parameter: its values against the metric."""
    shown = [trial for trial in facts["trials"] if trial["state"] in _ENDED and trial["value"] is not None]
    if len(shown) < 2:
        return Section("choices", "What each value gave", "", missing="it takes two trials that have ended.")
    lead = "Other parameters differ too from point to point: a slope says more than a single point."
    parts: list[tuple[str, list[Element]]] = [
        (name, [_draw_choice(facts, name, known, shown)]) for name, known in facts["parameters"].items()
    ]
    return Section("choices", "What each value gave", lead, parts)


@styled
def _draw_choice(facts: _Facts, name: str, known: _Facts, shown: Sequence[_Facts]) -> Figure:
    figure, (axes,) = drawing(5.2, 2.8)
    labels = [_value(choice).text for choice in known.get("choices", ())]
    for state, colour, marker in (("finished", ACCENT, "o"), ("stopped early", SOFT, "x")):
        own = [trial for trial in shown if trial["state"] == state]
        if not own:
            continue
        found = [trial["values"][name] for trial in own]
        places = [labels.index(_value(one).text) for one in found] if labels else found
        axes.scatter(places, [trial["value"] for trial in own], s=24, color=colour, marker=marker, label=state)
    _mark_best(axes, facts, name, labels)
    if labels:
        axes.set_xticks(range(len(labels)), [plain(label if len(label) < 19 else f"{label[:17]}…") for label in labels])
        axes.set_xlim(-0.5, len(labels) - 0.5)
    elif known["log"]:
        axes.set_xscale("log")
    axes.set(xlabel=plain(name), ylabel=plain(_title(facts)))
    axes.legend(loc="best")
    values = [trial["value"] for trial in shown]
    alt = (
        f"{_title(facts)} against {name}, {len(shown)} trials, from {_text(facts, min(values))} to "
        f"{_text(facts, max(values))}."
    )
    return Figure(to_svg(figure, alt), f"{len(shown)} trials; the ring is the best one.")


def _mark_best(axes: Axes, facts: _Facts, name: str, labels: Sequence[str]) -> None:
    if facts["best"] is None:
        return
    best = facts["trials"][facts["best"]]
    place = labels.index(_value(best["values"][name]).text) if labels else best["values"][name]
    axes.scatter([place], [best["value"]], s=90, facecolors="none", edgecolors=MARK, linewidths=1.4)


def _importances(facts: _Facts) -> Section:
    title = "What matters"
    if not facts["importances"]:
        return Section(
            "importances", title, "", missing="it takes two parameters, and eight trials that came to their end."
        )
    rows = [[Cell(name), Cell(percent(share), share, share)] for name, share in facts["importances"].items()]
    lead = (
        "How much the values of the best quarter of the trials differ from those of all, parameter by parameter "
        "(PED-ANOVA, Watanabe et al. 2023). A few dozen trials give a rough order, and no more."
    )
    return Section("importances", title, lead, [("", [Table("Share of each parameter", ["Key", "Share"], rows)])])


def _courses(facts: _Facts) -> Section:
    title, shown = "On the way", [trial for trial in facts["trials"] if len(trial["validations"]) > 1]
    if not shown:
        return Section("courses", title, "", missing="no trial was validated twice.")
    return Section("courses", title, "The metric after each validation, a line for each trial.",
                   [("", [_draw_courses(facts, shown)])])  # fmt: skip


@styled
def _draw_courses(facts: _Facts, shown: Sequence[_Facts]) -> Figure:
    figure, (axes,) = drawing(5.2, 3.2)
    # The best one is drawn last, over the others.
    for trial in sorted(shown, key=lambda trial: trial["number"] == facts["best"]):
        steps, values = np.array([(int(step), value) for step, value in trial["validations"].items()]).T
        is_best, ended = trial["number"] == facts["best"], trial["state"] == "finished"
        colour = MARK if is_best else ACCENT if ended else SOFT
        axes.plot(steps, values, color=colour, linewidth=2 if is_best else 1, alpha=1 if is_best else 0.6)
        if trial["state"] == "stopped early":
            axes.plot(steps[-1:], values[-1:], "x", color=INK, markersize=5)
    axes.set(xlabel="validation", ylabel=plain(_title(facts)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    stopped = sum(trial["state"] == "stopped early" for trial in shown)
    alt = (
        f"{_title(facts)} after each validation, a line for each of {len(shown)} trials; {stopped} were stopped early."
    )
    return Figure(to_svg(figure, alt), "Crosses: stopped early. The thick line is the best trial.")


def _trials(facts: _Facts) -> Section:
    columns = ["Trial", "State", _title(facts), "Validations", "Seconds", *facts["parameters"], "Error"]
    rows = [
        [
            Cell(str(trial["number"]), trial["number"]),
            Cell(_state(trial)),
            NOTHING if trial["value"] is None else Cell(_text(facts, trial["value"]), trial["value"]),
            cell(len(trial["validations"]), 0),
            NOTHING if trial["seconds"] is None else cell(trial["seconds"], 0),
            *(_value(trial["values"][name]) if name in trial["values"] else NOTHING for name in facts["parameters"]),
            Cell(trial["error"] or ""),
        ]
        for trial in facts["trials"]
    ]
    return Section("trials", "Trials", "", [("", [Table("All trials", columns, rows)])], wide=True)


def _made(facts: _Facts) -> Section:
    fixed = f" `{json.dumps(facts['constants'])}` was the same in all of them." if facts["constants"] else ""
    text = (
        f"`{facts['command']}`, method {facts['method']}, seed {facts['seed']}; every trial has the training seed "
        f"{facts['training_seed']}.{fixed} The same command goes on with a sweep that was stopped; with more "
        "`--trials` it adds some. The folder has `sweep.json`, `trials.csv`, Optuna's `study.db` and a folder for each "
        "trial."
    )
    return Section("made", "How it was made", "", [("", [Note(text)])])


def _state(trial: _Facts) -> str:
    again = trial["repeated_as"]
    return f"{trial['state']}, repeated as {again}" if again is not None else str(trial["state"])


def _value(value: Any) -> Cell:
    """Return the value of a parameter as the configuration has it."""
    if isinstance(value, float):
        return Cell(f"{value:.4g}", value)
    if isinstance(value, int) and not isinstance(value, bool):
        return Cell(str(value), value)
    return Cell(value if isinstance(value, str) else json.dumps(value))


def _title(facts: _Facts) -> str:
    try:
        return f"{facts['metric']}{' (%)' if measure_of(facts['metric']).percent else ''}"
    except ConfigError:
        return str(facts["metric"])


def _text(facts: _Facts, value: float) -> str:
    try:
        return measure_of(facts["metric"]).text(value)
    except ConfigError:
        return f"{value:.4g}"

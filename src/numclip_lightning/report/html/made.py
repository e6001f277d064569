"""The section on how the runs were made: files, data, protocol, versions and the whole configuration."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from numclip_lightning.report.html.elements import NOTHING, Cell, Element, Note, Section, Table
from numclip_lightning.report.reported import ReportedRun

__all__ = ["made_section"]

_LIBRARIES = ("numclip-lightning", "torch", "lightning", "open_clip_torch", "numpy", "pandas")


def made_section(runs: Sequence[ReportedRun], command: str) -> Section:
    """Show how the runs and this page were made.

    Args:
        runs: The runs.
        command: The command that made the page.
    """
    facts = [_facts(run) for run in runs]
    names = list(dict.fromkeys(name for found in facts for name in found))
    rows = [[Cell(name), *(Cell(found[name]) if name in found else NOTHING for found in facts)] for name in names]
    elements: list[Element] = [Table("Runs", ["Fact", *(run.name for run in runs)], rows, sortable=False)]
    for run in runs:
        if run.config:
            text = yaml.safe_dump(dict(run.config), sort_keys=False, allow_unicode=True)
            lines = [[Cell(line)] for line in text.rstrip().splitlines()]
            elements.append(Table(f"Configuration of {run.name}", ["config.yaml"], lines, sortable=False, folded=True))
    elements.append(Note(f"This page was made with {_versions()} by: {command}"))
    return Section("made", "How it was made", "", (("", elements),), wide=True)


def _facts(run: ReportedRun) -> dict[str, str]:
    found = {"Predictions": str(run.file), "Images": f"{len(run.frame):,}"}
    if run.has_truth:
        target = run.frame["target"]
        found["True numbers"] = f"{target.min():g} to {target.max():g}, median {target.median():g}"
    if run.groups is not None:
        found["Groups"] = f"{len(set(run.groups)):,}"
    if run.counts:
        images = sum(run.counts.ranks.values())
        found["Training images"] = f"{images:,}, with {len(run.counts.ranks):,} values, median {run.counts.median:g}"
    if run.scale:
        found["Scale"] = run.scale.describe()
        found["Levels"] = f"{run.scale.num_levels}: {_listed(run.scale.phrases)}"
        found["Template"] = run.scale.template
    return {**found, **_configured(run.config), **_protocol(run)}


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words) if len(words) <= 12 else f"{', '.join(words[:5])}, …, {words[-1]}"


def _configured(config: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    model, data = config.get("model") or {}, config.get("data") or {}
    arguments = model.get("init_args") or {}
    given = {
        "Method": str(model.get("class_path", "")).rpartition(".")[2],
        "Backbone": " ".join(str(arguments[name]) for name in ("backbone", "pretrained") if arguments.get(name)),
        "Data": str(data.get("class_path", "")).rpartition(".")[2],
        "Seed": "" if config.get("seed_everything") is None else str(config["seed_everything"]),
        "Checkpoint": str(config.get("ckpt_path") or ""),
    }
    found.update({name: text for name, text in given.items() if text})
    return found


def _protocol(run: ReportedRun) -> dict[str, str]:
    select_on = run.metrics.get("select_on")
    if "select_on" in run.frame and (run.frame["select_on"] == "test").any():
        select_on = "test"
    if select_on is None:
        return {}
    words = {"val": "validation images", "test": "TEST images: the numbers are better than on others"}
    return {"Checkpoint selected on": words.get(str(select_on), str(select_on))}


def _versions() -> str:
    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)

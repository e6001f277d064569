"""The trials of a sweep as a table, and counted; from its facts alone (sweep.json)."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from numclip_lightning.report.spreadsheets import write_csv

__all__ = ["STATES", "best_so_far", "count_states", "write_trials"]

# As they are counted, in this order.
STATES = ("finished", "stopped early", "failed", "killed", "not ended", "waiting")


def count_states(facts: Mapping[str, Any]) -> str:
    """Return how many trials there are of each state, in words; a killed one that was repeated is no trial of its own.

    Args:
        facts: The facts of a sweep.

    Example:
        >>> count_states({"trials": [{"state": "finished"}, {"state": "failed"}, {"state": "killed"}]})
        '2 trials: 1 finished, 1 failed; 1 more was killed and is repeated'
    """
    counts = Counter(trial["state"] for trial in facts["trials"])
    killed = counts.pop("killed", 0)
    number = sum(counts.values())
    if not number:
        return "no trial"
    text = f"{number} trial{'s' * (number != 1)}: " + ", ".join(
        f"{counts[state]} {state}" for state in STATES if counts[state]
    )
    if killed:
        text += f"; {killed} more {'were killed and are' if killed > 1 else 'was killed and is'} repeated"
    return text


def best_so_far(facts: Mapping[str, Any]) -> list[tuple[int, float]]:
    """Return each trial that came to its end, and the best value up to it, in the order of their numbers."""
    better = min if facts["goal"] == "minimize" else max
    found: list[tuple[int, float]] = []
    for trial in facts["trials"]:
        if trial["state"] == "finished":
            best = better(trial["value"], found[-1][1]) if found else trial["value"]
            found.append((trial["number"], best))
    return found


def write_trials(facts: Mapping[str, Any], path: Path) -> None:
    """Write a row for each trial as CSV: its number, state, metric, values, seconds and error.

    Args:
        facts: The facts of a sweep.
        path: The file.
    """
    rows = [
        {
            "trial": trial["number"], "state": trial["state"], facts["metric"]: trial["value"],
            **{name: _cell(trial["values"], name) for name in facts["parameters"]},
            "validations": len(trial["validations"]), "seconds": trial["seconds"],
            "repeated_as": "" if trial["repeated_as"] is None else str(trial["repeated_as"]),
            "error": trial["error"] or "",
        }
        for trial in facts["trials"]
    ]  # fmt: skip
    write_csv(pd.DataFrame(rows), path)


def _cell(values: Mapping[str, Any], name: str) -> Any:
    """Return a value for a table, which leaves None out: `null` where YAML has it."""
    return "null" if name in values and values[name] is None else values.get(name)

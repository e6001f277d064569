"""What `numclip check` found in a dataset, as text; the facts are plain values, as in check.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from numclip_lightning.errors import format_number

__all__ = ["survey_text", "verdict"]

_SHOWN = 5
_BAR = 40


def survey_text(facts: Mapping[str, Any]) -> str:
    """Return the facts as text for a terminal.

    Args:
        facts: As `check.json` has them.
    """
    lines = []
    for part in facts["parts"]:
        lines += [*_part(part, facts["unit"]), ""]
    lines += _found("images twice, with equal numbers", facts["copies"])
    lines += _found("images twice, with different numbers (correct or remove one of each two)", facts["contradictions"])
    for shared in facts["shared_groups"]:
        one, other = shared["parts"]
        lines.append(f"{one} and {other} share {shared['groups']} groups, such as {', '.join(shared['first'])}")
    lines += _attributes(facts["attributes"])
    if facts["near"]:
        near = facts["near"]
        lines += _found(f"images nearly the same (cosine of {near['least']:g} or more)", near)
    if facts["variety"] and facts["variety"]["explained"] is not None:
        lines.append(
            f"{facts['variety']['explained']:.0%} of the variance of the features lies between the levels; directions "
            "within each: "
            + ", ".join(f"{name} {number:.0f}" for name, number in facts["variety"]["diversity"].items() if number)
        )
    return "\n".join([*lines, verdict(facts)])


def verdict(facts: Mapping[str, Any]) -> str:
    """Return what is to be done, in words.

    Args:
        facts: As `check.json` has them.
    """
    if not facts["usable"]:
        return f"correct before training: {'; '.join(facts['mend'])}"
    if facts["near"] and (across := facts["near"]["across"]):
        pairs = "the pair" if across == 1 else f"the {across} pairs"
        return f"nothing wrong was found; look at {pairs} in two splits: a copy makes results too good"
    return "nothing wrong was found"


def _part(part: Mapping[str, Any], unit: str) -> list[str]:
    if part["missing"]:
        return [f"{part['name']}: {part['missing']}"]
    head = f"{part['name']}: {part['images']} images"
    if part["groups"]:
        head += f", {part['groups']} groups"
    if part["unlabelled"]:
        head += f", {part['unlabelled']} without a number"
    lines = [head]
    if "low" in part:
        ends = f"{format_number(part['low'])} to {format_number(part['high'])}{' ' if unit else ''}{unit}"
        lines.append(f"  numbers {ends}, median {format_number(part['median'])}, {part['values']} different ones")
        lines += _bars(part)
    if part.get("off_scale"):
        lines.append(f"  {part['off_scale']} numbers are outside the scale")
    if part["sizes"]:
        sizes = (f"{name} {size[0]}x{size[1]}" for name, size in part["sizes"].items())
        lines.append(f"  sizes: {', '.join(sizes)}; {', '.join(f'{n} {mode}' for mode, n in part['modes'].items())}")
    if part["faults"]["number"]:
        lines.append(f"  {part['faults']['number']} images can't be used:")
        lines += [
            f"    {fault['where']}: {fault['path']}: {fault['reason']}" for fault in part["faults"]["first"][:_SHOWN]
        ]
    return lines


def _bars(part: Mapping[str, Any]) -> list[str]:
    """Return a bar for each part of the range and, with a scale, one for each level."""
    over_range = [
        (format_number(low) if low == high else f"{format_number(low)}..{format_number(high)}", count)
        for low, high, count in part["histogram"]
    ]
    if "levels" not in part:
        return _drawn(over_range)
    empty = [name for name, count in part["levels"].items() if not count]
    lines = [*_drawn(list(part["levels"].items())), "  over the scale:", *_drawn(over_range)]
    return [*lines, f"  no image of: {', '.join(empty)}"] if empty else lines


def _drawn(rows: Sequence[tuple[str, int]]) -> list[str]:
    width, most = max(len(name) for name, _ in rows), max(count for _, count in rows) or 1
    return [f"  {name:<{width}} {count:>7} {'#' * round(_BAR * count / most)}".rstrip() for name, count in rows]


def _found(what: str, pairs: Mapping[str, Any]) -> list[str]:
    if not pairs["number"]:
        return []
    across = f" ({pairs['across']} in two splits)" if pairs["across"] else ""
    lines = [f"{what}: {pairs['number']} pair{'s' if pairs['number'] > 1 else ''}{across}"]
    for pair in _spread(pairs["first"]):
        one, other = (
            f"{pair[f'{side}part']} {pair[f'{side}path']}"
            + ("" if (n := pair[f"{side}target"]) is None else f" ({n:g})")
            for side in ("", "other_")
        )
        lines.append(f"  {one} and {other}")
    return lines


def _spread(pairs: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the first few pairs, those of two splits before the others: they make results too good."""
    return sorted(pairs, key=lambda pair: pair["part"] == pair["other_part"])[:_SHOWN]


def _attributes(attributes: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, found in attributes.items():
        share = (
            "" if found["explained"] is None else f" explains {found['explained']:.0%} of the variance of the numbers"
        )
        lines.append(f"{name}{share}:")
        lines += [
            f"  {value or '(unknown)'}: {facts['images']} images, mean {facts['mean']:.4g} ± {facts['deviation']:.3g}"
            for value, facts in found["values"].items()
        ]
    return lines

"""The files of an interpolation: a checkpoint, and the tables of errors and barriers."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from numclip_lightning.data.base.types import SelectOn
from numclip_lightning.methods.base.frozen import left_out, put_back
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.saved import read_checkpoint
from numclip_lightning.methods.base.tuning import merge_checkpoint
from numclip_lightning.runs.interpolate import Barrier, Point

__all__ = ["read_whole", "write_checkpoint", "write_tables"]


def read_whole(path: str, method: OrdinalMethod) -> dict[str, Any]:
    """Read the checkpoint of a fit, with the frozen weights that it leaves out, and tuned weights merged.

    Args:
        path: The checkpoint.
        method: The method, built with the same backbone.

    Raises:
        ConfigError: If it is no checkpoint, or left out other weights than the method has.
    """
    checkpoint = read_checkpoint(path)
    put_back(method, checkpoint)
    merge_checkpoint(checkpoint)
    return checkpoint


def write_checkpoint(
    place: Path, checkpoint: dict[str, Any], state: dict[str, Tensor], origin: dict[str, Any], select_on: SelectOn
) -> None:
    """Write the checkpoint of a fit with other weights; every verb takes it.

    Args:
        place: The file.
        checkpoint: The checkpoint of the fit; changed in place. Weights that a resumed fit would go on from beside the
            averages are left out.
        state: The weights; those that the checkpoint leaves out are left out again.
        origin: What is kept of where they come from, plain values.
        select_on: What they were selected on.
    """
    checkpoint.pop("averaging", None)
    gone = left_out(checkpoint)
    checkpoint["state_dict"] = {name: value.cpu() for name, value in state.items() if name not in gone}
    checkpoint["interpolation"] = origin
    folders = [kept for name, kept in checkpoint.get("callbacks", {}).items() if name.startswith("RunFolder")]
    if select_on == "test":
        for kept in folders:
            kept["select_on"] = "test"
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint, place)


def write_tables(folder: Path, points: Sequence[Point], found: Sequence[Barrier], best: Point, unit: str) -> None:
    """Write `interpolation.csv`, `barriers.csv` and both as `interpolation.md`.

    Args:
        folder: The run folder.
        points: The error at each place, CLIP first, the fit last.
        found: The barrier of each part; none leaves that table out.
        best: The place that was chosen.
        unit: The target's unit.
    """
    first = [["alpha", "val_mae"], *([f"{point.alpha:g}", f"{point.mae:.6g}"] for point in points)]
    _csv(folder / "interpolation.csv", first)
    errors = {point.alpha: point.mae for point in points}
    lines = [
        f"Mean absolute error on the validation images{f' in {unit}' if unit else ''}, from CLIP (0) to the fit (1). "
        f"Chosen: {best.alpha:g}, with {best.mae:.4g}; CLIP has {errors[0]:.4g}, the fit {errors[1]:.4g}.",
        "",
        *_markdown([[*row[:1], row[1] if row[0] == "alpha" else f"{float(row[1]):.4g}"] for row in first]),
    ]
    if found:
        alphas = list(found[0].heights)
        heading = ["part", "distance", "val_mae_at_clip", *(f"barrier_{alpha:g}" for alpha in alphas), "barrier_max"]
        rows = [[b.part, *(f"{x:.6g}" for x in (b.distance, b.at_clip, *b.heights.values(), b.highest))] for b in found]
        _csv(folder / "barriers.csv", [heading, *rows])
        short = [[row[0], *(f"{float(cell):.3g}" for cell in row[1:])] for row in rows]
        lines += [
            "",
            "The barrier of each part: how much worse the error is on its way, with all others at the fit, than the "
            "ends of that way say. Parts with high barriers are stragglers: the fit has left CLIP's valley there.",
            "",
            *_markdown([heading, *short]),
        ]
    (folder / "interpolation.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _csv(file: Path, rows: Iterable[Sequence[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(rows)


def _markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]]

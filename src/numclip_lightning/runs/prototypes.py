"""How alike the prompts of a scale are to a method: a file of a tested run, for the report."""

import json
from pathlib import Path
from typing import Any

import torch

from numclip_lightning.methods.base.prompted import PromptedMethod
from numclip_lightning.runs.durable import write_whole

__all__ = ["PROTOTYPES", "write_prototypes"]

PROTOTYPES = "prototypes.json"


def write_prototypes(method: Any, folder: Path) -> None:
    """Write the cosine similarity of each two prototypes, by phrase (or value), into a run folder.

    Args:
        method: Any method, in evaluation; one without prompts writes nothing.
        folder: The run folder.
    """
    if not isinstance(method, PromptedMethod):
        return
    with torch.no_grad():
        prototypes = torch.nn.functional.normalize(method.prototypes().detach().float().cpu(), dim=-1)
    similarity = prototypes @ prototypes.T
    names = next(
        (names for names in (method.scale.phrases, method.scale.numbers) if len(names) == len(prototypes)), None
    )
    if names is None or not similarity.isfinite().all():
        return
    rows = [[round(number, 5) for number in row] for row in similarity.tolist()]
    write_whole(folder / PROTOTYPES, json.dumps({"phrases": names, "similarity": rows}) + "\n")

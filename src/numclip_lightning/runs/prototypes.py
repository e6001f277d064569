"""How alike the prompts of a scale are to a method: a file of a tested run, for the report."""

import json
from pathlib import Path
from typing import Any

import torch

from numclip_lightning.methods.base.prompted import PromptedMethod
from numclip_lightning.runs.durable import write_whole

__all__ = ["PROTOTYPES", "prototypes_text", "write_prototypes"]

PROTOTYPES = "prototypes.json"


def write_prototypes(method: Any, folder: Path) -> None:
    """Write `prototypes_text` into a run folder, if there is any."""
    if text := prototypes_text(method):
        write_whole(folder / PROTOTYPES, text)


def prototypes_text(method: Any) -> str:
    """Return the cosine similarity of each two prototypes, by phrase (or value), as JSON.

    Args:
        method: Any method, in evaluation.

    Returns:
        An object with `phrases` (K) and `similarity` (K, K); empty for a method without prompts.
    """
    if not isinstance(method, PromptedMethod):
        return ""
    with torch.no_grad():
        prototypes = torch.nn.functional.normalize(method.prototypes().detach().float().cpu(), dim=-1)
    similarity = prototypes @ prototypes.T
    names = next(
        (names for names in (method.scale.phrases, method.scale.numbers) if len(names) == len(prototypes)), None
    )
    if names is None or not similarity.isfinite().all():
        return ""
    rows = [[round(number, 5) for number in row] for row in similarity.tolist()]
    return json.dumps({"phrases": names, "similarity": rows}) + "\n"

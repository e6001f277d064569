"""What a fit trains, in one line: the parts of the method, and how many of their parameters."""

import logging
from collections.abc import Sequence

import lightning as L
from lightning.pytorch.callbacks import ModelSummary
from lightning.pytorch.utilities.model_summary.model_summary import get_human_readable_count
from torch.nn import Parameter

__all__ = ["SummariseParts"]

_log = logging.getLogger(__name__)


class SummariseParts(ModelSummary):
    """Lightning's summary as one line: its table has a row for each set of metrics, and FLOPs that are always 0."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say what is trained, such as `model: 807 K of 4.1 M parameters are trained: clip 805 K of 4.1 M, head 45`."""
        parts = {name: list(part.parameters()) for name, part in pl_module.named_children()}
        each = ", ".join(f"{name} {_share(found)}" for name, found in parts.items() if found)
        if trainer.is_global_zero and each:
            trained, total = _counts(list(pl_module.parameters()))
            _log.info("model: %s of %s parameters are trained: %s", _short(trained), _short(total), each)


def _counts(parameters: Sequence[Parameter]) -> tuple[int, int]:
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return trained, sum(parameter.numel() for parameter in parameters)


def _share(parameters: Sequence[Parameter]) -> str:
    trained, total = _counts(parameters)
    return _short(total) if trained == total else f"{_short(trained) if trained else 'none'} of {_short(total)}"


def _short(number: int) -> str:
    return get_human_readable_count(number).strip()

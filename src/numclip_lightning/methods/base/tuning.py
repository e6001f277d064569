"""How much of a tower is tuned: all of it, singular values, updates of low rank, or its last blocks."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn

from numclip_lightning.errors import ConfigError, check_choice, refuse
from numclip_lightning.methods.base.frozen import LEFT_OUT
from numclip_lightning.methods.base.rates import LearningRates
from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.image_tower import ImageTower
from numclip_lightning.models.tuning import (
    LowRank,
    SingularValues,
    is_tuned,
    last_blocks,
    merged,
    reparametrise,
    tower_layers,
)

__all__ = ["Tune", "TuneMode", "TuneSpec", "check_tune", "fit_to_tuning", "merge_checkpoint", "tune_towers"]

TuneMode = Literal["full", "svd", "lora", "last_n"]
_log = logging.getLogger(__name__)

# Blocks that `last_n` trains where nothing is said.
_LAST = 2


@dataclass(frozen=True)
class TuneSpec:
    """How the towers that are trained are tuned; `docs/fine_tuning.md` compares the ways.

    Args:
        mode: `full`: every weight. `svd`: the singular values of the matrices in the blocks (CLIP-SVD). `lora`: a sum
            of `rank` outer products for each of them. `last_n`: all weights of the last `blocks` blocks and of what is
            above them.
        blocks: The blocks that are tuned, counted from the top; None takes all, and 2 for `last_n`.
        rank: The rank of `lora`.
        alpha: The factor of what `lora` adds, times the rank.

    Raises:
        ConfigError: If the mode is unknown, or a number is not above 0.
    """

    mode: TuneMode = "full"
    blocks: int | None = None
    rank: int = 8
    alpha: float = 16.0

    def __post_init__(self) -> None:
        """Check mode and numbers."""
        check_choice("tune.mode", self.mode, get_args(TuneMode))
        for name, value in (("blocks", self.blocks), ("rank", self.rank), ("alpha", self.alpha)):
            if value is not None and not 0 < value < float("inf"):
                refuse(f"tune.{name} is {value}; give a number above 0.")
        if self.mode == "full" and self.blocks is not None:
            refuse("tune.blocks goes with svd, lora or last_n; full tunes every block.")

    @property
    def rewrites(self) -> bool:
        """Whether weights have a change beside them."""
        return self.mode in ("svd", "lora")


Tune = TuneMode | TuneSpec


def check_tune(tune: TuneSpec, rates: LearningRates) -> None:
    """Refuse a way of tuning that nothing is tuned by.

    Raises:
        ConfigError: If no tower is trained, or its rate is meant for the whole tower.
    """
    if tune.mode == "full":
        return
    if not (rates.image_encoder or rates.text_encoder):
        refuse(
            f"tune={tune.mode}, but image and text tower are frozen; raise learning_rates.image_encoder or "
            "learning_rates.text_encoder."
        )
    if tune.rewrites and rates.by_size:
        refuse(
            f"learning_rates.by_size fits the rate of a whole tower, and tune={tune.mode} trains few numbers of it; "
            "set by_size=false and give image_encoder a rate for these, such as 5e-4."
        )


def tune_towers(clip: ImageTower, spec: TuneSpec, rates: LearningRates) -> None:
    """Let a spec decide what of the towers that are trained is trained; their parameters' `requires_grad` say so.

    Args:
        clip: The image tower, alone or with its text tower.
        spec: How.
        rates: The learning rates; a tower with the rate 0 stays as it is.

    Raises:
        ConfigError: If a tower has fewer blocks, or none that are known.
    """
    if spec.mode == "full":
        return
    if rates.image_encoder:
        _tune(clip.visual, spec, "image tower")
    if rates.text_encoder and isinstance(clip, CLIPBackbone):
        _tune(clip.text, spec, "text tower")


def _tune(tower: nn.Module, spec: TuneSpec, what: str) -> None:
    if is_tuned(name for name, _ in tower.named_parameters()):
        return
    layers = tower_layers(tower)
    most = len(layers) - 2
    blocks = spec.blocks or (min(_LAST, most) if spec.mode == "last_n" else most)
    if blocks > most:
        raise ConfigError(f"tune.blocks is {blocks}, but the {what} has {most}; give no more.")
    size = sum(parameter.numel() for parameter in tower.parameters())
    names = set(last_blocks(layers, blocks))
    for name, parameter in tower.named_parameters():
        # A method may have put some to rest that no loss reaches.
        parameter.requires_grad_(parameter.requires_grad and spec.mode == "last_n" and name in names)
    if spec.mode == "svd":
        reparametrise(tower, names.difference(layers[-1]), SingularValues)
    elif spec.mode == "lora":
        reparametrise(tower, names.difference(layers[-1]), lambda weight, _: LowRank(weight, spec.rank, spec.alpha))
    trained = sum(parameter.numel() for parameter in tower.parameters() if parameter.requires_grad)
    _log.info(
        "tune=%s: %d numbers of the %s are trained, as many as %.2f %% of its own %d",
        spec.mode, trained, what, 100 * trained / size, size,
    )  # fmt: skip


def fit_to_tuning(method: nn.Module, checkpoint: dict[str, Any], spec: TuneSpec) -> None:
    """Merge the weights of a checkpoint for a method whose towers are plain.

    Args:
        method: The method that will load it.
        checkpoint: The checkpoint, whole; changed in place.
        spec: How the method's towers are tuned in a fit.

    Raises:
        ConfigError: If the method's towers are tuned and the checkpoint's are plain.
    """
    if not is_tuned(method.state_dict()):
        merge_checkpoint(checkpoint)
    elif not is_tuned(checkpoint["state_dict"]):
        raise ConfigError(
            f"the checkpoint has the weights of whole towers, and tune={spec.mode} trains a change beside them; resume "
            "from the last.ckpt of a fit with the same tune, or start a new fit."
        )


def merge_checkpoint(checkpoint: dict[str, Any]) -> None:
    """Give a checkpoint of tuned towers the weights of plain ones; any other stays as it is.

    Args:
        checkpoint: The checkpoint, whole; changed in place. What was merged is not left out any more.
    """
    state: Mapping[str, Any] = checkpoint["state_dict"]
    if not is_tuned(state):
        return
    checkpoint["state_dict"] = merged(state)
    if place := checkpoint.get(LEFT_OUT):
        tensors = {name: print_ for name, print_ in place["tensors"].items() if not is_tuned([name])}
        checkpoint[LEFT_OUT] = {**place, "tensors": tensors}

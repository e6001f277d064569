"""Between CLIP and the fit: the towers' weights are interpolated (WiSE-FT), and validation says how far to go.

Source: Wortsman et al., "Robust Fine-tuning of Zero-shot Models", CVPR 2022 (arXiv 2109.01903), section 3. The barrier
of each part is ours, after the straggler layers of arXiv 2410.16476.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from numclip_lightning.errors import BackboneError, ConfigError
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.models.layers import image_layers
from numclip_lightning.progress import watched

__all__ = ["Barrier", "Path", "Point", "Walk", "barriers", "estimate_statistics", "path_between", "walk"]

State = Mapping[str, Tensor]

_VISUAL = "clip.visual."


class Point(NamedTuple):
    """A place between CLIP and the fit.

    Attributes:
        alpha: 0 is CLIP, 1 the fit.
        mae: The mean absolute error on the validation images, in the target's unit.
    """

    alpha: float
    mae: float


class Barrier(NamedTuple):
    """What one part costs on the way, while all others stay at the fit.

    Attributes:
        part: The layer of the image tower, `text tower`, `words` or `logit scale`.
        distance: How far the fit has moved it, `|fit - CLIP| / |CLIP|`.
        at_clip: The error with this part alone at CLIP.
        heights: `B(a) = MAE(a) - ((1 - a) MAE(0) + a MAE(1))` by alpha; above 0 where the way is worse than its ends.
    """

    part: str
    distance: float
    at_clip: float
    heights: dict[float, float]

    @property
    def highest(self) -> float:
        """The largest barrier; minus infinity without any alpha between the ends."""
        return max(self.heights.values(), default=float("-inf"))


@dataclass(frozen=True)
class Path:
    """What lies between CLIP and a fit.

    Attributes:
        start: The weights at CLIP of all that has moved, by name.
        end: The same at the fit.
        parts: The names by part, from the lowest layer on.
    """

    start: State
    end: State
    parts: dict[str, list[str]]

    @property
    def moves_images(self) -> bool:
        """Whether the image tower has moved."""
        return any(name.startswith(_VISUAL) for name in self.end)

    def at(self, alpha: float, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return the weights at a place; at 0 and 1 those of the ends, to the bit.

        The temperature is a logarithm, so that it is interpolated geometrically.

        Args:
            alpha: 0 is CLIP, 1 the fit.
            names: What moves; the rest stays at the fit. None moves all.
        """
        moving = self.end.keys() if names is None else set(names)
        return {
            name: torch.lerp(self.start[name], value, alpha) if name in moving else value
            for name, value in self.end.items()
        }


def path_between(method: OrdinalMethod, fit: State) -> Path:
    """Return the path from a method as it is built, with the weights of CLIP, to those of a fit.

    Adapters, heads and random words have no place at CLIP; they stay as the fit has them.

    Args:
        method: The method as it starts.
        fit: The `state_dict` of the fit.

    Raises:
        ConfigError: If the method has random weights in place of CLIP's, or nothing has moved.
    """
    if method.pretrained is None:
        raise ConfigError(
            "model.pretrained is null, so that there is no CLIP to interpolate from; give the weights that the fit has "
            "started from, such as --model.pretrained=auto."
        )
    start = {name: value.detach().clone() for name, value in method.state_dict().items()}
    parts: dict[str, list[str]] = {}
    for part, names in _parts(method).items():
        if moved := [name for name in names if name in fit and not torch.equal(start[name], fit[name])]:
            parts[part] = moved
    moving = [name for names in parts.values() for name in names]
    if not moving:
        raise ConfigError(
            f"there is nothing to interpolate: in this checkpoint of {type(method).__name__}, image tower, text tower "
            "and words are those of CLIP (they were frozen)."
        )
    return Path({name: start[name] for name in moving}, {name: fit[name] for name in moving}, parts)


def _parts(method: OrdinalMethod) -> dict[str, list[str]]:
    """Return all that starts from CLIP, by part: parameters, and the running statistics of batch normalisation."""
    visual = method.clip.visual
    try:
        layers = image_layers(visual)
    except BackboneError:
        layers = {"image tower": [name for name, _ in visual.named_parameters()]}
    parts = {part: [f"{_VISUAL}{name}" for name in names] for part, names in layers.items()}
    for name, module in visual.named_modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None:
            home = next((part for part, names in layers.items() if f"{name}.weight" in names), next(iter(parts)))
            parts[home] += [f"{_VISUAL}{name}.{key}" for key in ("running_mean", "running_var")]
    parts["text tower"] = [name for name, _ in method.named_parameters() if name.startswith("clip.text.")]
    random = getattr(getattr(method, "prompts", None), "random_context", True)
    words = ["prompts.phrases", *([] if random else ["prompts.context"])]
    own = dict(method.named_parameters())
    parts["words"] = [name for name in words if name in own]
    parts["logit scale"] = ["clip.logit_scale"] if "clip.logit_scale" in own else []
    return parts


@dataclass(frozen=True)
class Walk:
    """A method at any place of a path, and its error there.

    Args:
        method: The method, with the weights of the fit.
        trainer: Its trainer, which has the device and the precision.
        path: What lies between CLIP and the fit.
        batches: The validation batches, from the first on, at each call.
        calibration: Training images to estimate the statistics of batch normalisation with, batches of (B, 3, H, W);
            none interpolates them.
    """

    method: OrdinalMethod
    trainer: L.Trainer
    path: Path
    batches: Callable[[], Iterable[dict[str, Any]]]
    calibration: Sequence[Tensor] = ()

    def go(self, alpha: float, names: Iterable[str] | None = None) -> None:
        """Give the method the weights of a place, see `Path.at`.

        Where all moves, nothing is estimated at CLIP and at the fit, which have statistics of their own. Where a part
        moves, they are estimated everywhere, so that differences are those of the part.
        """
        state = self.path.at(alpha, names)
        own = self.method.state_dict()
        with torch.no_grad():
            for name, value in state.items():
                own[name].copy_(value)
        is_end = alpha in (0, 1) and names is None
        if self.calibration and self.path.moves_images and not is_end:
            estimate_statistics(self.method, self.trainer, self.calibration)

    def error(self, alpha: float, names: Iterable[str] | None = None) -> float:
        """Return the mean absolute error at a place."""
        self.go(alpha, names)
        total, count = torch.zeros((), dtype=torch.float64), 0
        device = self.trainer.strategy.root_device
        self.method.to(device).eval()
        precision = self.trainer.precision_plugin
        with torch.inference_mode(), precision.forward_context():
            for batch in self.batches():
                value = self.method(precision.convert_input(batch["image"].to(device))).value
                total += (value.cpu().double() - batch["target"].double()).abs().sum()
                count += len(value)
        return total.item() / count


def walk(place: Walk, alphas: Sequence[float]) -> list[Point]:
    """Return the error at each place between CLIP and the fit."""
    places = watched(alphas, len(alphas), "going from CLIP to the fit", "place")
    return [Point(alpha, place.error(alpha)) for alpha in places]


def barriers(place: Walk, alphas: Sequence[float]) -> list[Barrier]:
    """Return the barrier of each part, the highest first.

    Args:
        place: The method on its path.
        alphas: The places, with the ends.
    """
    found, at_fit = [], place.error(1, names=[])
    parts = place.path.parts
    for part, names in watched(parts.items(), len(parts), "moving each part alone", "part"):
        errors = {alpha: place.error(alpha, names) for alpha in alphas if alpha < 1}
        at_clip = errors.pop(0.0)
        heights = {a: mae - ((1 - a) * at_clip + a * at_fit) for a, mae in errors.items()}
        found.append(Barrier(part, _distance(place.path, names), at_clip, heights))
    return sorted(found, key=lambda barrier: -barrier.highest)


def _distance(path: Path, names: Sequence[str]) -> float:
    moved, whole = (
        torch.stack([(path.end[name] - path.start[name] if apart else path.start[name]).double().square().sum()
                     for name in names]).sum()
        for apart in (True, False)
    )  # fmt: skip
    return float((moved / whole).sqrt())


def estimate_statistics(method: OrdinalMethod, trainer: L.Trainer, batches: Sequence[Tensor]) -> None:
    """Estimate the running statistics of batch normalisation in the image tower again, as the mean over batches.

    Args:
        method: The method; nothing else in it changes, counters included.
        trainer: Its trainer, which has the device and the precision.
        batches: Normalised images, (B, 3, H, W) each.
    """
    norms = [m for m in method.clip.visual.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    kept = [(norm.momentum, None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone())
            for norm in norms]  # fmt: skip
    device = trainer.strategy.root_device
    method.to(device).eval()
    for norm in norms:
        norm.reset_running_stats()
        # The plain mean over batches.
        norm.momentum = None
        norm.train()
    # As training has seen them: looks that evaluation adds would be in the statistics too.
    with torch.no_grad(), method.one_view(), trainer.precision_plugin.forward_context():
        for images in batches:
            method.encode_images(trainer.precision_plugin.convert_input(images.to(device)))
    for norm, (momentum, tracked) in zip(norms, kept, strict=True):
        norm.momentum = momentum
        if tracked is not None and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.copy_(tracked)
    method.eval()

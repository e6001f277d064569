"""Remedies for few images of some numbers: what can be switched on."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from numclip_lightning.errors import check_choice, check_weight, refuse

__all__ = ["ImbalanceSpec"]

Weights = Literal["none", "inverse", "sqrt", "lds", "sqrt_lds", "propensity", "list"]


@dataclass(frozen=True)
class ImbalanceSpec:
    """Remedies for few images of some numbers, each by itself; all change training alone (`docs/imbalance.md`).

    Args:
        weights: The weight of each image's loss: of its rank's images n, `inverse` 1 / n, `sqrt` 1 / sqrt(n), `lds` and
            `sqrt_lds` the same of the smoothed histogram;
            `propensity` 1 / p of the list's column of that name; `list` the weights of the list, over their mean.
        clip: The largest weight as a multiple of the least possible one, at least 1; of a propensity, 1 / p at most.
        logit_adjustment: tau of the cross-entropy of `z + tau log p(class)`; 0 leaves it out.
        smooth_prior: Whether that p is smoothed as in `lds`.
        balanced_mse: The weight of the Balanced MSE of the number, in squared steps of the scale; 0 leaves it out.
        noise: The noise scale of Balanced MSE, in the target's unit; None is one step of the scale. On a logarithmic
            scale this and `conr_width` are distances of natural logarithms: 0.05 is about 5 %.
        conr: The weight of the contrast of confused images (ConR); 0 leaves it out.
        conr_width: From which distance two images differ for ConR, in the target's unit; None is one step of the scale.
        fds: Whether features are calibrated by those of neighbouring ranks (feature distribution smoothing).
        kernel_size: Ranks that one rank is smoothed over in `lds`, `smooth_prior` and `fds`, odd.
        kernel_sigma: The standard deviation of that Gaussian, in steps of the scale.

    Raises:
        ConfigError: If an argument is out of its range.
    """

    weights: Weights = "none"
    clip: float = 10.0
    logit_adjustment: float = 0.0
    smooth_prior: bool = False
    balanced_mse: float = 0.0
    noise: float | None = None
    conr: float = 0.0
    conr_width: float | None = None
    fds: bool = False
    kernel_size: int = 5
    kernel_sigma: float = 2.0

    def __post_init__(self) -> None:
        """Check every argument."""
        check_choice("imbalance.weights", self.weights, get_args(Weights))
        for name in ("logit_adjustment", "balanced_mse", "conr"):
            check_weight(f"imbalance.{name}", getattr(self, name), "left out")
        for name in ("noise", "conr_width", "kernel_sigma"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                refuse(f"imbalance.{name} is {value}; give a positive number.")
        if not (math.isfinite(self.clip) and self.clip >= 1):
            refuse(f"imbalance.clip is {self.clip}; give a number of at least 1, which weighs all alike.")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            refuse(f"imbalance.kernel_size is {self.kernel_size}; give an odd number such as 5.")

"""Heads whose outputs are ordered by construction: from image features to log-probabilities of ordered classes.

A softmax over C classes has no order. A cumulative link cuts one score by ordered thresholds; a stick is broken class
by class; a unimodal head falls on both sides of its highest class. All compute in float32 at least, also under
autocast, and return logarithms, which any decoder and any cross-entropy takes as logits.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.models.image_heads import LinearHead
from numclip_lightning.models.thresholds import rank_log_probabilities

__all__ = ["CumulativeLinkHead", "Link", "StickBreakingHead", "Unimodal", "UnimodalHead"]

Link = Literal["logit", "probit"]
Unimodal = Literal["folded", "binomial", "poisson"]


class CumulativeLinkHead(nn.Module):
    """One score for the image and ordered thresholds: `P(y > k) = F(s - b_k)` with `b_0 < b_1 < ...`.

    F is the logistic function (proportional odds) or the normal distribution. The gaps of the thresholds are
    exponentials, so that no step can exchange two of them. At a score of 0 all classes are equally likely at first.

    Source: McCullagh, "Regression Models for Ordinal Data", JRSS B 1980; for networks Vargas et al., "Cumulative Link
    Models for Deep Ordinal Classification", Neurocomputing 2020, whose gaps are squares.

    Args:
        dim: Size D of a feature.
        num_classes: C, at least 2.
        link: F, `logit` or `probit`.

    Raises:
        ConfigError: If the link is unknown or there is a single class.

    Example:
        >>> head = CumulativeLinkHead(dim=4, num_classes=4)
        >>> _ = nn.init.zeros_(head.score.weight)
        >>> head(torch.randn(1, 4)).exp().detach()
        tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """

    def __init__(self, dim: int, num_classes: int, link: Link = "logit") -> None:
        super().__init__()
        check_choice("link", link, get_args(Link))
        _check_classes(num_classes)
        self.link = link
        self.score = LinearHead(dim, 1, bias=False)
        share = torch.arange(1, num_classes, dtype=torch.float64) / num_classes
        start = share.logit() if link == "logit" else torch.special.ndtri(share)
        self.first = nn.Parameter(start[:1].float())
        self.log_gaps = nn.Parameter(start.diff().log().float())

    def thresholds(self) -> Tensor:
        """Return the thresholds, ascending, (C-1,)."""
        return torch.cat([self.first, self.first + self.log_gaps.exp().cumsum(dim=0)])

    def forward(self, features: Tensor) -> Tensor:
        """Return log-probabilities: (B, D) -> (B, C)."""
        distance = self.score(features) - self.thresholds()
        return rank_log_probabilities(_LOG_LINKS[self.link](distance))


class StickBreakingHead(nn.Module):
    """Breaks a stick from the first class on: `P(y = k) = q_k prod_{j<k} (1 - q_j)`, `q = sigmoid(z)`.

    At first all classes are equally likely for an image of zeros: `q_k = 1 / (C - k)`.

    Source: Khan et al., "A Stick-Breaking Likelihood for Categorical Data Analysis with Latent Gaussian Models",
    AISTATS 2012, section 3.

    Args:
        dim: Size D of a feature.
        num_classes: C, at least 2.

    Raises:
        ConfigError: If there is a single class.
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        _check_classes(num_classes)
        self.breaks = LinearHead(dim, num_classes - 1)
        with torch.no_grad():
            # sigmoid(-log n) = 1 / (1 + n), n the classes behind.
            self.breaks.bias.copy_(-torch.arange(num_classes - 1, 0, -1).log())

    def forward(self, features: Tensor) -> Tensor:
        """Return log-probabilities: (B, D) -> (B, C)."""
        z = self.breaks(features)
        beyond = functional.logsigmoid(-z).cumsum(dim=1)
        before = functional.pad(beyond, (1, 0))
        return torch.cat([functional.logsigmoid(z), torch.zeros_like(z[:, :1])], dim=1) + before


class UnimodalHead(nn.Module):
    """Probabilities that rise to one class and fall behind it, whatever the weights are.

    - `folded` (COPOC): `softmax(-|r|)` with `r = cumsum(n_0, |n_1|, |n_2|, ...)`: any shape with one peak.
    - `binomial`: C - 1 draws with a learned chance; `poisson`: a learned rate, cut off behind the last class. Both are
      softmaxes of the logarithms over a learned temperature, one number for each image gives the whole distribution.

    Source: Dey et al., "Conformal Prediction Sets for Ordinal Classification", NeurIPS 2023 (COPOC); Beckham and Pal,
    "Unimodal Probability Distributions for Deep Ordinal Classification", ICML 2017 (arXiv 1705.05278).

    Args:
        dim: Size D of a feature.
        num_classes: C, at least 2.
        form: Which of the three.

    Raises:
        ConfigError: If the form is unknown or there is a single class.
    """

    log_ways: Tensor

    def __init__(self, dim: int, num_classes: int, form: Unimodal = "folded") -> None:
        super().__init__()
        check_choice("form", form, get_args(Unimodal))
        _check_classes(num_classes)
        self.form = form
        self.head = LinearHead(dim, num_classes if form == "folded" else 1)
        k, most = torch.arange(num_classes, dtype=torch.float64), num_classes - 1
        if form == "folded":
            with torch.no_grad():
                # The peak starts in the middle; steps of 1 at its sides.
                nn.init.normal_(self.head.weight, std=0.01)
                self.head.bias.fill_(1.0)
                self.head.bias[0] = -most / 2
        else:
            self.log_temperature = nn.Parameter(torch.zeros(()))
            ways = torch.lgamma(k + 1)
            if form == "binomial":
                ways = ways + torch.lgamma(most - k + 1) - math.lgamma(most + 1)
            else:
                with torch.no_grad():
                    # softplus(x) is the rate: the middle class.
                    self.head.bias.fill_(most / 2 + math.log(-math.expm1(-most / 2)))
            self.register_buffer("log_ways", -ways.float(), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return log-probabilities: (B, D) -> (B, C)."""
        z = self.head(features)
        if self.form == "folded":
            position = torch.cat([z[:, :1], z[:, 1:].abs()], dim=1).cumsum(dim=1)
            return (-position.abs()).log_softmax(dim=1)
        k = torch.arange(len(self.log_ways), dtype=z.dtype, device=z.device)
        if self.form == "binomial":
            chances = k * functional.logsigmoid(z) + (len(k) - 1 - k) * functional.logsigmoid(-z)
        else:
            # Away from 0, whose logarithm is none.
            chances = k * (functional.softplus(z) + torch.finfo(z.dtype).eps).log()
        return ((chances + self.log_ways) / self.log_temperature.exp()).log_softmax(dim=1)


def _check_classes(num_classes: int) -> None:
    if num_classes < 2:
        raise ConfigError("the scale has a single class, and no order to learn; raise scale.maximum, or add levels.")


_LOG_LINKS = {"logit": functional.logsigmoid, "probit": torch.special.log_ndtr}

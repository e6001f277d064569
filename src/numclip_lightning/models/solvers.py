"""Linear maps without training steps: discriminant analysis, logistic regression, least squares.

Always in float64: covariances of features of length one have eigenvalues far below the precision of float32.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "LinearClassifier",
    "class_gaussians",
    "gaussian_discriminant",
    "line_through",
    "logistic_regression",
    "residual_regression",
    "ridge_regression",
]

# Bias of a class without training images: its probability is 0, and the loss of such an image large but finite.
_NEVER = -1e4
_MOST_STEPS = 2000


class LinearClassifier(NamedTuple):
    """Logits `features @ weight.T + bias` over C classes.

    Attributes:
        weight: float64 (C, D).
        bias: float64 (C,).
    """

    weight: Tensor
    bias: Tensor


def gaussian_discriminant(features: Tensor, label: Tensor, centers: Tensor) -> LinearClassifier:
    """Classifier for classes that are Gaussians with one covariance and equal prior probabilities.

    Source: Wang et al., ICLR 2024 (arXiv 2402.04087), section 3.2. With class means `mu_c`, the covariance S of the N
    features around them (divided by N-1), the precision is shrunk as by Kubokawa and Srivastava,
    `P = D pinv((N-1) S + tr(S) I)`; then `weight_c = P mu_c` and `bias_c = log(1/C) - mu_c P mu_c / 2`.

    The mean of a class without images is interpolated between its nearest neighbours on the scale that have images;
    outside the first and the last of these, it is the mean of the nearest. If all features equal the mean of their
    class (one image for each), S and all weights are 0.

    Args:
        features: (N, D), N at least 1.
        label: The class of each, int64 (N,), 0..C-1.
        centers: The number of each class, increasing, (C,).

    Returns:
        The classifier, on the device of the features.

    Example:
        >>> features = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
        >>> weight, bias = gaussian_discriminant(features, torch.tensor([0, 0, 1, 1]), torch.tensor([1.0, 2.0]))
        >>> (features.double() @ weight.T + bias).argmax(dim=1)
        tensor([0, 0, 1, 1])
    """
    means, precision = class_gaussians(features, label, centers)
    weight = means @ precision
    prior = -torch.tensor(float(len(centers)), dtype=means.dtype).log().to(means.device)
    return LinearClassifier(weight, prior - (weight * means).sum(dim=1) / 2)


def class_gaussians(features: Tensor, label: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of each class and the precision that all share, as `gaussian_discriminant` describes them.

    Args:
        features: (N, D), N at least 1.
        label: The class of each, int64 (N,), 0..C-1.
        centers: The number of each class, increasing, (C,).

    Returns:
        Means (C, D) and precision (D, D), float64, on the device of the features; the precision is 0 if all features
        equal the mean of their class.
    """
    x, centers = features.double(), centers.to(features.device, torch.float64)
    count, dim = x.shape
    means = interpolated_means(x, label, centers)
    spread = x - means[label]
    covariance = spread.T @ spread / max(count - 1, 1)
    identity = torch.eye(dim, dtype=x.dtype, device=x.device)
    precision = dim * torch.linalg.pinv((count - 1) * covariance + covariance.trace() * identity, hermitian=True)
    return means, precision


def interpolated_means(x: Tensor, label: Tensor, centers: Tensor) -> Tensor:
    """Return the mean of each class, (C, D), interpolated over `centers` for classes without images."""
    sums = torch.zeros(len(centers), x.shape[1], dtype=x.dtype, device=x.device).index_add_(0, label, x)
    counts = label.bincount(minlength=len(centers))
    present = counts > 0
    known, means = centers[present], sums[present] / counts[present, None]
    right = torch.searchsorted(known, centers).clamp(max=len(known) - 1)
    left = (right - 1).clamp(min=0)
    gap = (known[right] - known[left]).clamp(min=torch.finfo(x.dtype).tiny)
    share = ((centers - known[left]) / gap).clamp(0, 1)
    return means[left].lerp(means[right], share[:, None])


def logistic_regression(
    features: Tensor, label: Tensor, num_classes: int, strength: float, start: LinearClassifier | None = None
) -> LinearClassifier:
    """Multinomial logistic regression, solved by L-BFGS.

    The minimum of `strength * sum_n -log softmax(weight x_n + bias)[y_n] + |weight|^2 / 2`, as scikit-learn's
    `LogisticRegression(C=strength)` for three classes or more; for two classes, scikit-learn has one vector of weights,
    and twice the C is equivalent. A class without images is never predicted. L-BFGS stops after 2,000 steps, slightly
    before the minimum if a large strength lets the weights grow.

    Args:
        features: (N, D), N at least 1.
        label: The class of each, int64 (N,), 0..num_classes-1.
        num_classes: C.
        strength: The C of scikit-learn, greater than 0: a larger strength allows larger weights.
        start: Initial weights; zeros if None.

    Returns:
        The classifier, on the device of the features.
    """
    x = features.double()
    present = label.bincount(minlength=num_classes).nonzero().flatten()
    own = torch.searchsorted(present, label)
    weight = x.new_zeros(len(present), x.shape[1]) if start is None else start.weight[present].clone()
    bias = x.new_zeros(len(present)) if start is None else start.bias[present].clone()
    with torch.enable_grad():
        weight.requires_grad_()
        bias.requires_grad_()
        _minimise(
            weight, bias, lambda: functional.cross_entropy(x @ weight.T + bias, own), penalty=0.5 / (strength * len(x))
        )
    whole = LinearClassifier(x.new_zeros(num_classes, x.shape[1]), x.new_full((num_classes,), _NEVER))
    whole.weight[present] = weight.detach()
    # A constant added to all biases changes nothing; this keeps them near 0.
    whole.bias[present] = bias.detach() - bias.detach().mean()
    return whole


def residual_regression(
    features: Tensor,
    loss: Callable[[Tensor], Tensor],
    start: LinearClassifier,
    strength: float,
    *,
    most_steps: int = 100,
) -> LinearClassifier:
    """Linear map of features with the least penalised loss of any kind, by L-BFGS.

    The minimum of `strength * N * loss(features @ weight.T + bias) + |weight|^2 / 2`: with the cross-entropy of the
    labels as loss it is `logistic_regression`. L-BFGS stops after `most_steps`, for what follows is trained on.

    Args:
        features: (N, D), N at least 1; their type is that of the solution.
        loss: From outputs (N, C) to their mean loss, a scalar.
        start: Initial weights and bias, of which copies are moved.
        strength: Greater than 0: a larger strength allows larger weights.
        most_steps: The most steps.

    Returns:
        The weights and bias found, on the device of the features.
    """
    weight, bias = (tensor.detach().to(features).clone().requires_grad_() for tensor in start)
    penalty = 0.5 / (strength * len(features))
    with torch.enable_grad():
        _minimise(weight, bias, lambda: loss(features @ weight.T + bias), penalty, most_steps)
    return LinearClassifier(weight.detach(), bias.detach())


def ridge_regression(features: Tensor, target: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Least squares with a penalty: the minimum of `sum_n (w x_n + b - y_n)^2 + ridge |w|^2`, b not penalised.

    Args:
        features: (N, D), N at least 1.
        target: (N,).
        ridge: 0 or more; with 0 the shortest of the best w.

    Returns:
        w, float64 (D,), and b, a scalar, on the device of the features.
    """
    x, y = features.double(), target.double()
    middle, mean = x.mean(dim=0), y.mean()
    u, scale, v = torch.linalg.svd(x - middle, full_matrices=False)
    # Directions without spread have no weight; without the limit, rounding would be divided by rounding.
    kept = scale > scale[:1] * max(x.shape) * torch.finfo(x.dtype).eps
    shrunk = torch.where(kept, scale / (scale.square() + ridge).clamp(min=torch.finfo(x.dtype).tiny), 0.0)
    weight: Tensor = v.T @ (shrunk * (u.T @ (y - mean)))
    return weight, mean - middle @ weight


def line_through(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares line `slope * x + offset` through points, x and y (N,); flat if all x are equal.

    Returns:
        Slope and offset, float64 scalars.
    """
    weight, offset = ridge_regression(x[:, None], y, 0.0)
    return weight[0], offset


def _minimise(
    weight: Tensor, bias: Tensor, loss: Callable[[], Tensor], penalty: float, most_steps: int = _MOST_STEPS
) -> None:
    """Minimise the mean loss plus `penalty * |weight|^2` in place."""
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=most_steps,
        tolerance_grad=1e-7,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def penalised() -> Tensor:
        optimizer.zero_grad()
        value = loss() + penalty * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(penalised)  # type: ignore[no-untyped-call]

"""Classifiers in closed form against scikit-learn's, which knows nothing of ours."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from numclip_lightning.models.solvers import gaussian_discriminant, logistic_regression

CENTERS = torch.arange(5.0)


def clouds(count: int = 60, dim: int = 7, classes: int = 5, *, length_one: bool = False) -> tuple[Tensor, Tensor]:
    """Features (count, dim) around a mean for each class, every class at least twice, and their labels."""
    generator = torch.Generator().manual_seed(3)
    label = torch.arange(count) % classes
    means = torch.randn(classes, dim, generator=generator, dtype=torch.float64)
    x = means[label] + torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return (x / x.norm(dim=1, keepdim=True) if length_one else x), label


class Shrunk:
    """The covariance whose inverse is the Kubokawa-Srivastava precision, for scikit-learn: of all classes at once."""

    def __init__(self, x: Any, y: Any) -> None:
        centred = np.concatenate([x[y == c] - x[y == c].mean(axis=0) for c in np.unique(y)])
        count, dim = centred.shape
        covariance = np.cov(centred, rowvar=False)
        self.covariance_ = ((count - 1) * covariance + np.trace(covariance) * np.eye(dim)) / dim

    def fit(self, x: Any) -> "Shrunk":
        return self


@pytest.mark.parametrize(("count", "dim"), [(60, 7), (15, 40), (600, 64)])
def test_the_discriminant_is_scikit_learns(count: int, dim: int) -> None:
    x, label = clouds(count, dim, length_one=True)
    weight, bias = gaussian_discriminant(x, label, CENTERS)
    reference = LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=Shrunk(x.numpy(), label.numpy()), priors=[0.2] * 5
    ).fit(x.numpy(), label.numpy())

    new, _ = clouds(33, dim, length_one=True)
    np.testing.assert_allclose((new @ weight.T + bias).numpy(), reference.decision_function(new.numpy()), atol=1e-6)


def test_the_mean_of_a_class_without_images_is_interpolated() -> None:
    centers = torch.tensor([0.0, 1.0, 2.0, 4.0, 5.0, 6.0])
    x, label = clouds(40, 3, 2)
    label = torch.tensor([1, 3])[label]
    weight, bias = gaussian_discriminant(x, label, centers)
    first, second = x[label == 1].mean(0), x[label == 3].mean(0)
    # The centres are 1, 2 and 4: a third of the way.
    means = torch.stack([first, first, first + (second - first) / 3, second, second, second])
    spread = torch.cat([x[label == 1] - first, x[label == 3] - second])
    covariance = spread.T @ spread / 39
    precision = 3 * torch.linalg.inv(39 * covariance + covariance.trace() * torch.eye(3))
    for c in range(6):
        torch.testing.assert_close(weight[c], precision @ means[c])
        assert bias[c].item() == pytest.approx(math.log(1 / 6) - (means[c] @ precision @ means[c]).item() / 2)


@pytest.mark.parametrize("label", [[0, 1, 2, 3, 4], [3]])
def test_single_images_give_weights_of_zero(label: list[int]) -> None:
    x, _ = clouds(len(label))
    weight, bias = gaussian_discriminant(x, torch.tensor(label), CENTERS)
    assert not weight.any()
    assert bias.tolist() == pytest.approx([-math.log(5)] * 5)


@pytest.mark.parametrize("strength", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_logistic_regression_is_scikit_learns(strength: float, classes: int) -> None:
    x, label = clouds(80, 6, classes)
    weight, bias = logistic_regression(x, label, classes, strength)
    # Of two classes, scikit-learn's penalty counts one vector w, ours w/2 and -w/2.
    reference = LogisticRegression(C=strength * (2 if classes == 2 else 1), tol=1e-10, max_iter=100_000).fit(
        x.numpy(), label.numpy()
    )

    new, _ = clouds(31, 6)
    found = (new @ weight.T + bias).softmax(dim=1)
    np.testing.assert_allclose(found.numpy(), reference.predict_proba(new.numpy()), atol=1e-4)


def test_logistic_regression_ends_where_it_ends_wherever_it_starts() -> None:
    x, label = clouds()
    cold = logistic_regression(x, label, 5, 10.0)
    warm = logistic_regression(x, label, 5, 10.0, logistic_regression(x, label, 5, 0.1))
    torch.testing.assert_close(warm.weight, cold.weight, atol=1e-5, rtol=1e-4)


def test_a_class_without_images_is_never_predicted_and_does_not_change_the_others() -> None:
    x, label = clouds(60, 7, 3)
    whole = logistic_regression(x, torch.tensor([0, 2, 4])[label], 5, 1.0)
    alone = logistic_regression(x, label, 3, 1.0)
    probabilities = (x @ whole.weight.T + whole.bias).log_softmax(dim=1)
    assert probabilities.isfinite().all()
    assert not probabilities[:, [1, 3]].exp().any()
    torch.testing.assert_close(probabilities[:, [0, 2, 4]], (x @ alone.weight.T + alone.bias).log_softmax(dim=1))


def test_one_class_alone_is_certain() -> None:
    x, _ = clouds(4)
    weight, bias = logistic_regression(x, torch.tensor([2, 2, 2, 2]), 5, 1.0)
    assert ((x @ weight.T + bias).argmax(dim=1) == 2).all()
    assert weight.isfinite().all()

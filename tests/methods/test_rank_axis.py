"""The rank axis: its direction from least squares, two groups, or two prompts."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.rank_axis import RankAxis
from numclip_lightning.models.solvers import line_through, ridge_regression
from numclip_lightning.scale import OrdinalScale
from support.tiny_fit import SCALE, TINY
from support.tiny_patches import TARGETS, Patches, features, fitted

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")


def values(method: RankAxis, x: torch.Tensor) -> np.ndarray[Any, Any]:
    with torch.no_grad():
        return method.eval().decode_features(x.float() * 7).value.double().numpy()


@pytest.mark.parametrize("ridge", [0.01, 1.0])
def test_least_squares_is_scikit_learns_ridge(ridge: float) -> None:
    method, data = RankAxis(**TINY, ridges=[ridge]), Patches(TARGETS)
    fitted(method, data)
    x = features(method, data)
    reference = Ridge(alpha=ridge, solver="svd").fit(x.numpy(), np.array(TARGETS))
    np.testing.assert_allclose(values(method, x), reference.predict(x.numpy()), atol=1e-4)


@pytest.mark.parametrize("shape", [(40, 6), (4, 6)])
def test_without_a_penalty_it_is_the_shortest_of_the_best_fits(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=shape), generator.normal(size=shape[0])
    weight, offset = ridge_regression(torch.from_numpy(x), torch.from_numpy(y), 0.0)
    centred = x - x.mean(axis=0)
    expected = np.linalg.lstsq(centred, y - y.mean(), rcond=None)[0]
    np.testing.assert_allclose(weight, expected, atol=1e-10)
    np.testing.assert_allclose(offset, y.mean() - x.mean(axis=0) @ expected, atol=1e-10)


def test_a_line_through_equal_points_is_flat() -> None:
    slope, offset = line_through(torch.tensor([0.3, 0.3]), torch.tensor([2.0, 4.0]))
    assert (slope.item(), offset.item()) == (0, 3)


def test_extremes_are_the_means_of_two_groups() -> None:
    method, data = RankAxis(**TINY, axis="extremes", extreme=0.2), Patches(TARGETS)
    fitted(method, data)
    x, y = features(method, data).numpy(), np.array(TARGETS)
    # 21 images: four of each end, the equal ones in their order.
    low = [i for target in range(7) for i in range(21) if y[i] == target][:4]
    high = [i for target in range(7) for i in range(21) if y[i] == target][-4:]
    projected = x @ (x[high].mean(axis=0) - x[low].mean(axis=0))
    slope, offset = np.polyfit(projected, y, 1)
    np.testing.assert_allclose(values(method, torch.from_numpy(x)), slope * projected + offset, atol=1e-3)


def test_text_is_the_difference_of_the_first_and_the_last_prompt() -> None:
    torch.manual_seed(0)
    method = RankAxis(**TINY, axis="text")
    assert not [name for name in method.state_dict() if "text" in name], "no text tower is kept"
    data = Patches(TARGETS)
    fitted(method, data)
    x, y = features(method, data).numpy(), np.array(TARGETS)
    projected = x @ method.direction.double().numpy()
    slope, offset = np.polyfit(projected, y, 1)
    np.testing.assert_allclose(values(method, torch.from_numpy(x)), slope * projected + offset, atol=1e-3)


def test_the_prompts_are_those_of_the_embedded_clip() -> None:
    from numclip_lightning.models.loading import load_clip

    method = RankAxis(scale=SCALE, backbone="mini", pretrained="auto", axis="text")
    with torch.no_grad():
        texts = load_clip("mini").eval().encode_text([SCALE.template.format(p) for p in SCALE.phrases])
    low, high = F.normalize(texts, dim=1)[[0, -1]]
    torch.testing.assert_close(method.direction, high - low)


def test_the_penalty_is_chosen_on_validation_and_a_small_set_is_learnt() -> None:
    method = RankAxis(**TINY)
    metrics = fitted(method, Patches(TARGETS))
    # Guessing the median costs 1.71.
    assert metrics["val_mae"] < 0.3
    assert method.ridge.item() in method.ridges


def test_before_a_fit_it_answers_with_the_middle() -> None:
    assert RankAxis(**TINY).eval().decode_features(torch.randn(2, 24)).value.tolist() == [3, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"axis": "words"}, "axis is 'words'; choose one of 'least_squares', 'extremes', 'text'"),
        ({"ridges": []}, "ridges is empty"),
        ({"ridges": [-1.0]}, "ridges is -1"),
        ({"extreme": 0.6}, "extreme is 0.6; give a share above 0 and at most 0.5"),
        ({"extreme": 0.0}, "extreme is 0.0"),
        (
            {"axis": "text", "scale": OrdinalScale(0, 6, levels=[{"phrase": "all", "start": 0}])},
            "a single level, and axis=text needs a first and a last",
        ),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RankAxis(**{**TINY, **arguments})

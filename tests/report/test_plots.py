"""Pictures show the given numbers, have labels, and leave matplotlib's global state alone."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.report.plots import plot_images, plot_predictions, plot_similarity

MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])


@pytest.fixture
def axes() -> Axes:
    return Figure().subplots()


def dots(axes: Axes) -> list[list[float]]:
    (cloud,) = [artist for artist in axes.collections if isinstance(artist, PathCollection)]
    offsets: list[list[float]] = np.asarray(cloud.get_offsets()).tolist()
    return offsets


def words(axes: Axes, axis: str) -> list[str]:
    return [label.get_text() for label in getattr(axes, f"get_{axis}ticklabels")()]


class TestPredictions:
    def test_every_image_is_a_dot(self, axes: Axes) -> None:
        plot_predictions(axes, torch.tensor([1, 20, 60]), torch.tensor([2.5, 19.0, 70.0]), "years")
        assert dots(axes) == [[1.0, 2.5], [20.0, 19.0], [60.0, 70.0]]
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("true (years)", "predicted (years)")

    def test_the_line_is_where_both_are_equal_and_spans_all(self, axes: Axes) -> None:
        plot_predictions(axes, torch.tensor([3.0, 60.0]), torch.tensor([-2.0, 50.0]), "things")
        (line,) = axes.lines
        assert np.asarray(line.get_xydata()).tolist() == [[-2.0, -2.0], [60.0, 60.0]]
        legend = axes.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == ["predicted = true", "2 images"]

    def test_a_scale_without_a_unit(self, axes: Axes) -> None:
        plot_predictions(axes, torch.ones(1), torch.ones(1, requires_grad=True), "")
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("true", "predicted")

    def test_numbers_that_do_not_pair_are_refused(self, axes: Axes) -> None:
        with pytest.raises(ConfigError, match="target has 3 entries and value has 2; give equally many"):
            plot_predictions(axes, torch.ones(3), torch.ones(2), "")
        with pytest.raises(ConfigError, match=r"target has 0 entries .* at least one"):
            plot_predictions(axes, torch.ones(0), torch.ones(0), "")


class TestSimilarity:
    def test_it_shows_the_cosine_of_each_pair(self, axes: Axes) -> None:
        prototypes = torch.tensor([[2.0, 0.0], [3.0, 3.0], [0.0, -1.0]], requires_grad=True)
        plot_similarity(axes, prototypes, ["few", "some", "many"], "before")
        half = np.sqrt(0.5)
        expected = [[1, half, 0], [half, 1, -half], [0, -half, 1]]
        (picture,) = axes.images
        np.testing.assert_allclose(np.asarray(picture.get_array()), expected, atol=1e-6)
        assert axes.get_title() == "before"
        assert words(axes, "x") == words(axes, "y") == ["few", "some", "many"]

    def test_colours_mean_the_same_in_every_picture(self, axes: Axes) -> None:
        plot_similarity(axes, torch.eye(2), ["few", "many"], "")
        assert axes.images[0].get_clim() == (-1, 1)
        figure = axes.get_figure(root=True)
        assert figure is not None
        assert [other.get_ylabel() for other in figure.axes if other is not axes] == ["cosine similarity"]

    def test_phrases_that_do_not_pair_are_refused(self, axes: Axes) -> None:
        with pytest.raises(ConfigError, match="prototypes has 2 entries and phrases has 1"):
            plot_similarity(axes, torch.eye(2), ["few"], "")


class TestImages:
    @pytest.fixture
    def pixels(self) -> Tensor:
        """Two images of known colours, (2, 3, 4, 5), 0..1."""
        return torch.rand(2, 3, 4, 5)

    def test_it_shows_the_pixels_from_before_normalisation(self, pixels: Tensor) -> None:
        normalised = (pixels.double().numpy() - MEAN[:, None, None]) / STD[:, None, None]
        row = Figure().subplots(1, 2)
        plot_images(row, torch.tensor(normalised), torch.tensor([3.0, 2.5]), torch.tensor([3.14, 60]), ["few", "many"])
        for axes, image in zip(row, pixels.numpy(), strict=True):
            np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), image.transpose(1, 2, 0), atol=1e-5)
        assert [axes.get_title() for axes in row] == ["true 3\npredicted 3.1\nfew", "true 2.5\npredicted 60.0\nmany"]
        assert not any(axes.axison for axes in row)

    def test_what_does_not_pair_is_refused(self, pixels: Tensor) -> None:
        row, two = Figure().subplots(1, 2), torch.ones(2)
        for bad, name in (
            ((row[:1], two, two, ["few"] * 2), "axes_list has 1"),
            ((row, torch.ones(3), two, ["few"] * 2), "target has 3"),
            ((row, two, torch.ones(1), ["few"] * 2), "value has 1"),
            ((row, two, two, ["few"]), "phrases has 1"),
        ):
            with pytest.raises(ConfigError, match=f"images has 2 entries and {name}"):
                plot_images(bad[0], pixels, *bad[1:])


def test_a_picture_is_written_without_pyplot(tmp_path: Path) -> None:
    figure = Figure(layout="constrained")
    one, two, three = figure.subplots(1, 3)
    plot_predictions(one, torch.ones(2), torch.ones(2), "things")
    plot_similarity(two, torch.eye(2), ["few", "many"], "before")
    plot_images([three], torch.zeros(1, 3, 8, 8), torch.ones(1), torch.ones(1), ["few"])
    figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []

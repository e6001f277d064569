"""Published figures, each with a source."""

from itertools import chain

import pytest

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics import measure_of
from numclip_lightning.report.published import published_figures

NAMES = (
    "morph", "morph-2-shots", "morph-a", "morph-b", "morph-c", "morph-d", "clap2015", "fgnet", "utkface", "historical",
    "aesthetics", "adience", "retina", "yearguessr", "agedb", "afad", "cacd", "clap2016",
    "agedb-dir", "imdb-wiki-dir", "ava", "koniq",
)  # fmt: skip


def test_the_figures_of_numclip_and_their_sources() -> None:
    found = {
        (name, figure.metric, figure.value, figure.tolerance)
        for name in NAMES
        for figure in published_figures(name)
        if figure.method == "NumCLIP" and figure.source == "NumCLIP, ECCV 2024"
    }
    assert found == {
        ("morph", "test_mae", 2.08, 0.02),
        ("morph-2-shots", "test_mae", 3.17, 0.22),
        ("historical", "test_acc", 0.6961, None),
        ("aesthetics", "test_mae", 0.23, None),
        ("aesthetics", "test_acc", 0.7653, None),
    }
    assert "3.39" in published_figures("morph-2-shots")[0].note


def test_a_tolerance_covers_what_others_got() -> None:
    (morph,) = [figure for figure in published_figures("morph") if figure.method == "NumCLIP"]
    (shots,) = published_figures("morph-2-shots")
    assert morph.tolerance is not None
    assert shots.tolerance is not None
    assert abs(2.0970 - morph.value) <= morph.tolerance
    assert abs(3.39 - shots.value) <= shots.tolerance + 1e-12


@pytest.mark.parametrize(
    ("name", "method", "metric", "value"),
    [
        ("morph-a", "OL", "test_mae", 2.41), ("morph-a", "MWR", "test_mae", 2.13), ("morph-b", "OL", "test_mae", 2.75),
        ("morph-b", "MWR", "test_mae", 2.53), ("morph-c", "OL", "test_mae", 2.68), ("morph-d", "OL", "test_mae", 2.22),
        ("morph-d", "MWR", "test_mae", 2.0), ("clap2015", "MWR", "test_epsilon", 0.25),
        ("utkface", "Cross-entropy, ResNet-50", "test_mae", 4.38), ("utkface", "FaRL + MLP", "test_mae", 3.87),
        ("morph-c", "FaRL + MLP", "test_mae", 3.04), ("agedb", "L1 regression, ResNet-50", "test_mae", 6.23),
        ("clap2016", "Unimodal, ResNet-50", "test_mae", 4.17), ("adience", "MiVOLO v2", "test_acc", 0.6943),
        ("cvpr2024-morph-c", "FaRL + MLP", "test_mae", 3.04), ("agedb-dir", "LDS + FDS, ResNet-50", "test_mae", 7.47),
        ("imdb-wiki-dir", "FDS, ResNet-50", "test_mae", 7.66), ("koniq", "CLIP-IQA+", "test_spearman", 0.885),
        ("ava", "Q-Align", "test_plcc", 0.819),
    ],
)  # fmt: skip
def test_the_right_number_is_under_the_right_name(name: str, method: str, metric: str, value: float) -> None:
    found = [figure.value for figure in published_figures(name) if (figure.method, figure.metric) == (method, metric)]
    assert found == [value]


def test_every_figure_has_a_source_a_known_metric_and_a_row_of_its_own() -> None:
    assert len(list(chain.from_iterable(map(published_figures, NAMES)))) == 79
    for name in NAMES:
        figures = published_figures(name)
        assert len({(figure.method, figure.metric) for figure in figures}) == len(figures)
        for figure in figures:
            assert figure.source
            assert measure_of(figure.metric).text(figure.value)
            assert figure.tolerance is None or 0 < figure.tolerance < figure.value
            assert not figure.note.endswith(".")
            assert figure.metric != "test_acc" or 0 < figure.value < 1


def test_splits_of_its_own_are_no_remark_where_they_are_read() -> None:
    for name in ("agedb", "afad", "cacd", "clap2016", "morph-c", "utkface"):
        notes = {figure.note for figure in published_figures(f"cvpr2024-{name}")}
        assert notes == {""}
        assert any("subject-exclusive splits of its own" in figure.note for figure in published_figures(name))


def test_a_name_without_figures_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"published is 'morp'; choose one of .* did you mean 'morph'"):
        published_figures("morp")

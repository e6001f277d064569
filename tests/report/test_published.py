"""Published figures, each with a source."""

import pytest

from numclip_lightning.errors import ConfigError
from numclip_lightning.report.published import published_figures


def test_published_figures_are_the_four_with_a_source() -> None:
    found = {
        (name, figure.method, figure.metric, figure.value, figure.source)
        for name in ("morph", "historical", "aesthetics")
        for figure in published_figures(name)
    }
    paper = "NumCLIP, ECCV 2024"
    assert found == {
        ("morph", "NumCLIP", "test_mae", 2.08, paper),
        ("historical", "NumCLIP", "test_acc", 0.6961, paper),
        ("aesthetics", "NumCLIP", "test_mae", 0.23, paper),
        ("aesthetics", "NumCLIP", "test_acc", 0.7653, paper),
    }
    with pytest.raises(ConfigError, match=r"published is 'morp'; choose one of .* did you mean 'morph'"):
        published_figures("morp")

"""What the sections on levels and on strangers among the images say, against loops."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from numclip_lightning.metrics.separation import separation
from numclip_lightning.report.html.off_scale import off_scale_section
from numclip_lightning.report.html.trust import ordinality, prototype_section
from support.predicted import predictions, reported


def test_ordinality_is_the_share_of_steps_at_which_similarity_falls() -> None:
    random = np.random.default_rng(0)
    similarity = random.random((6, 6))
    falls = [similarity[i, j] > similarity[i, j + 1] for i in range(6) for j in range(i, 5)]
    share, steps = ordinality(similarity)
    assert share == pytest.approx(np.mean(falls))
    assert steps == 15
    distance = np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    assert ordinality(-1.0 * distance)[0] == 1.0
    assert ordinality(1.0 * distance)[0] == 0.0


def test_prototypes_of_a_run_are_drawn_with_their_words(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed_everything: 1\n")
    (tmp_path / "prototypes.json").write_text(
        '{"phrases": ["few", "some", "many"], "similarity": [[1, 0.9, 0.1], [0.9, 1, 0.8], [0.1, 0.8, 1]]}'
    )
    section = prototype_section([reported(predictions(40), tmp_path, "test_predictions.csv")])
    drawing = str(section.parts[0][1][0].svg)  # type: ignore[union-attr]
    assert "Ordinality 100 %" in drawing
    assert all(word in drawing for word in ("few", "some", "many"))


def test_the_least_likely_images_come_first_with_what_they_show(tmp_path: Path) -> None:
    frame = predictions(60)
    frame["on_scale"] = np.random.default_rng(1).permutation(60) / 60
    frame["rejected"] = frame["on_scale"] <= 0.05
    frame["shows"] = np.where(frame["rejected"], "a cat", "")
    section = off_scale_section([reported(frame, tmp_path)], None)
    rows = section.parts[0][1][0].rows  # type: ignore[union-attr]
    expected = frame.sort_values("on_scale")["path"][:20].tolist()
    assert [row[0].text for row in rows] == expected
    assert rows[0][-1].text == "a cat"
    assert "7 % of 60 images" in section.parts[0][1][1].text  # type: ignore[union-attr]


def test_what_was_tested_on_strangers_is_said_with_its_intervals(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed_everything: 1\n")
    frame = predictions(60)
    frame["scale_score"] = np.random.default_rng(1).normal(1, 1, 60)
    frame["on_scale"] = frame["scale_score"].rank(pct=True)
    strangers = pd.DataFrame({"path": "x.png", "value": 3.0, "scale_score": np.random.default_rng(2).normal(0, 1, 40)})
    strangers.to_csv(tmp_path / "off_scale_predictions.csv", index=False)
    section = off_scale_section([reported(frame, tmp_path, "test_predictions.csv")], None)
    said = section.parts[0][1][1].text  # type: ignore[union-attr]
    found = separation(frame["scale_score"], strangers["scale_score"], groups=frame["group"].tolist(), resamples=1000)
    assert f"On 40 images that are known not to belong the score was tested: AUROC {found.auroc:.3f} (" in said
    assert f"{found.auroc_low:.3f} to {found.auroc_high:.3f}" in said
    assert f"so do {100 * found.false_positives:.0f} % (" in said

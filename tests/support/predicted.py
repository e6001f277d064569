"""Prediction files for tests of reports, drawn with a seed, as `numclip test` writes them."""

from pathlib import Path

import numpy as np
import pandas as pd

from numclip_lightning.report.reading import read_run
from numclip_lightning.report.reported import ReportedRun

PHRASES = ("child", "young adult", "older adult")
STARTS = (0, 19, 60)


def predictions(size: int = 400, seed: int = 0, error: float = 5.0) -> pd.DataFrame:
    """Ages 0 to 89 of patients with two images each, with the probability of three levels and two attributes."""
    random = np.random.default_rng(seed)
    target = np.random.default_rng(99).integers(0, 90, size).astype("float64")
    sex = np.where(np.random.default_rng(98).random(size) < 0.6, "female", "male")
    noise = random.normal(0, error, size) * np.where(sex == "male", 1.6, 1.0)
    value = (target + noise).clip(0, 90)
    level = np.searchsorted(STARTS, target, side="right") - 1
    said = np.searchsorted(STARTS, value, side="right") - 1
    scores = -np.abs(np.arange(3) - said[:, None]) * 2.0 + random.normal(0, 0.3, (size, 3))
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    frame = pd.DataFrame({"path": [f"images/{number:05d}.png" for number in range(size)], "target": target})
    frame["true_phrase"] = [PHRASES[place] for place in level]
    frame["value"] = value
    frame["error"] = value - target
    frame["phrase"] = [PHRASES[place] for place in said]
    frame["most_probable"] = [PHRASES[place] for place in shares.argmax(axis=1)]
    frame[[f"p({phrase})" for phrase in PHRASES]] = shares
    frame["group"] = [f"patient {number // 2}" for number in range(size)]
    frame["attribute_sex"] = sex
    frame["attribute_site"] = np.random.default_rng(97).choice(["north", "south", "1"], size, p=[0.5, 0.46, 0.04])
    return frame


def reported(frame: pd.DataFrame, folder: Path, name: str = "mine.csv", **arguments: object) -> ReportedRun:
    """Write predictions as a file and read it as a report does."""
    file = folder / name
    frame.to_csv(file, index=False)
    return read_run(file, **arguments)  # type: ignore[arg-type]

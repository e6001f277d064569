"""Statistics over test images: the interval of a number, and paired tests of two methods on the same images."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from numclip_lightning.errors import DataError
from numclip_lightning.metrics import measure_of
from numclip_lightning.report.frame import KEY, shots_of
from numclip_lightning.report.intervals import bootstrap_difference, bootstrap_mean, sign_flip_test
from numclip_lightning.report.predictions import probability_columns, read_predictions
from numclip_lightning.report.statistics import holm, verdict_of

__all__ = ["IMAGE_ASSUMPTIONS", "compare_images", "image_intervals", "image_numbers", "levels_of"]

IMAGE_ASSUMPTIONS = (
    "Over test images, a method's number of an image (its absolute error; 1 or 0 for right or wrong) is averaged over "
    "the runs that share the test list; where a list differs by seed, the images of all seeds are pooled. Intervals "
    "are percentiles of a bootstrap over images. p is that of a permutation test that flips the signs of the "
    "differences, corrected after Holm for all comparisons of one table. Images of one group (a person, a patient) are "
    "drawn and flipped together where the predictions have a column `group`; without it images count as independent, "
    "and intervals of images that come in groups are too narrow. These tests are about the images: whether the trained "
    "models differ on images such as these. The tests over runs are about training: whether another seed would show it."
)
_UNIT = ["method", "shots", "fold", "seed", "image"]
_TEST = ["method", "shots", "select_on", "n", "difference", "low", "high", "p"]


def levels_of(frame: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the most probable and the true level of each image.

    Args:
        frame: See `read_predictions`. Without probabilities the levels are numbered in the order of their names: such
            numbers show which are equal, and no distance.

    Raises:
        DataError: If the true phrases are missing.
    """
    if "true_phrase" not in frame:
        raise DataError("a file of predictions has no column 'true_phrase', by which levels are compared; add it.")
    columns = probability_columns(frame)
    if columns:
        phrases = pd.Index([name[2:-1] for name in columns])
        return frame[columns].to_numpy("float64").argmax(axis=1), phrases.get_indexer(frame["true_phrase"])
    found = frame["most_probable" if "most_probable" in frame else "phrase"]
    phrases = pd.Index(sorted({*found, *frame["true_phrase"]}))
    return phrases.get_indexer(found), phrases.get_indexer(frame["true_phrase"])


def _number_of(metric: str) -> Callable[[pd.DataFrame], NDArray[np.float64]] | None:
    """Return what gives the number of each image whose mean is a metric; None if the metric is no such mean."""
    key = metric.removeprefix("test_")
    if key == "mae":
        return _errors
    if match := re.fullmatch(r"cs([\d_]+)", key):
        tolerance = np.float32(match[1].replace("_", "."))
        return lambda frame: (_errors(frame).astype("float32") <= tolerance).astype("float64")
    if key == "acc" or re.fullmatch(r"acc_within_\d+", key):
        distance = int(key.rpartition("_")[2]) if key != "acc" else 0
        return lambda frame: (np.abs(np.subtract(*levels_of(frame))) <= distance).astype("float64")
    return None


def _errors(frame: pd.DataFrame) -> NDArray[np.float64]:
    errors: NDArray[np.float64] = (frame["value"] - frame["target"]).abs().to_numpy("float64")
    return errors


def image_numbers(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Read the number of each test image whose mean is a metric.

    Args:
        rows: The rows of one dataset, see `results_frame`.
        metric: `test_mae`, `test_acc`, or one with a number such as `test_cs5` and `test_acc_within_1`.

    Returns:
        The columns method, shots, fold, seed, select_on, image (its path, and which of several with that path), target,
        number, group (missing without a column of that name) and unit: what is drawn as one. That is the image where
        every seed has the same test list; else the image of one seed. Empty if the metric is no mean over images, or
        no run has finished. Runs with a number that is not finite are left out.

    Raises:
        DataError: If the predictions of a finished run are missing or can't be used.
    """
    columns = [*_UNIT, "select_on", "target", "number", "group", "unit"]
    number_of = _number_of(metric)
    runs = rows[rows["status"] == "finished"].drop_duplicates(KEY)
    runs = runs[runs["folder"].notna()]
    if number_of is None or runs.empty:
        return pd.DataFrame(columns=columns)
    parts = []
    for run in runs.to_dict("records"):
        frame = read_predictions(run)
        part = pd.DataFrame({"image": frame["path"], "target": frame["target"], "number": number_of(frame)})
        # A list may have an image twice.
        place = part.groupby("image").cumcount().astype("str")
        part["image"] = part["image"].where(place == "0", part["image"] + " #" + place)
        # An image without a group, in a list that has them, is one of its own.
        part["group"] = (
            frame["group"].where(frame["group"] != "", "image " + part["image"]) if "group" in frame else None
        )
        facts = {name: run[name] for name in ("method", "shots", "fold", "seed", "select_on")}
        if np.isfinite(part["number"]).all():
            parts.append(part.assign(**facts))
    if not parts:
        return pd.DataFrame(columns=columns)
    found = pd.concat(parts, ignore_index=True)
    own = found["fold"].astype("str") + "/" + found["seed"].astype("str") + "/" + found["image"]
    return found.assign(unit=found["image"] if _is_shared(found) else own)[columns]


def _is_shared(found: pd.DataFrame) -> bool:
    """Return whether all seeds of a fold have the same test images with the same targets."""
    lists = found.groupby(["fold", "seed", "method", "shots"])[["image", "target"]].agg(tuple)
    return bool((lists.groupby("fold").nunique() == 1).all(axis=None))


def _by_unit(rows: pd.DataFrame, numbers: pd.DataFrame) -> dict[tuple[str, int], pd.DataFrame]:
    """Return the numbers of each method at each number of shots, as `at_every_shots` repeats runs."""
    learns, shots = rows.groupby("method")["trains"].any(), shots_of(rows)
    found = {}
    for method, own in numbers.groupby("method", sort=False):
        for number in shots:
            cell = own[own["shots"] == number] if learns[method] else own
            if len(cell):
                found[str(method), number] = cell
    return found


def image_intervals(rows: pd.DataFrame, numbers: pd.DataFrame) -> pd.DataFrame:
    """Return how sure the mean of each method over test images is.

    Args:
        rows: The rows of one dataset, see `results_frame`.
        numbers: See `image_numbers`.

    Returns:
        A row for each method and number of shots with at least 2 images (or groups): method, shots, n (images), mean,
        low and high (the ends of the 95 % interval), in the unit of the runs.
    """
    found = []
    for (method, shots), cell in _by_unit(rows, numbers).items():
        means = cell.groupby("unit").agg(number=("number", "mean"), group=("group", "first"))
        groups = None if means["group"].isna().any() else means["group"].to_numpy()
        if len(means if groups is None else np.unique(groups)) < 2:
            continue
        interval = bootstrap_mean(means["number"].to_numpy(), groups=groups)
        found.append((method, shots, interval.images, interval.mean, interval.low, interval.high))
    return pd.DataFrame(found, columns=["method", "shots", "n", "mean", "low", "high"])


def compare_images(rows: pd.DataFrame, metric: str, reference: str, numbers: pd.DataFrame) -> pd.DataFrame:
    """Test each method on a dataset against one of them on the same test images, at every number of shots.

    Args:
        rows: The rows of one dataset, see `results_frame`.
        metric: Which metric.
        reference: The method that the others are tested against.
        numbers: See `image_numbers`.

    Returns:
        The columns of `compare`; n is the number of images. Without runs of both on the same images, or if one of them
        was selected on the test set, there is no test.
    """
    cells = _by_unit(rows, numbers)
    trains = rows.groupby("method")["trains"].any()
    tests = []
    for method in rows["method"].unique():
        varies = bool(trains[method] or trains[reference])
        for shots in (shots_of(rows) if varies else shots_of(rows)[-1:]) if method != reference else ():
            ours, theirs = cells.get((method, shots)), cells.get((reference, shots))
            test = {} if ours is None or theirs is None else _test(ours, theirs)
            select_on = "test" if ours is not None and (ours["select_on"] == "test").any() else "val"
            name = {"method": method, "shots": shots if varies else None, "select_on": select_on}
            tests.append({**name, "n": 0, **test})
    found = pd.DataFrame(tests, columns=_TEST)
    found = found.astype({"shots": "Int64", **dict.fromkeys(("difference", "low", "high", "p"), "float64")})
    tested = found["p"].dropna()
    found["p_holm"] = pd.Series(holm(tested.tolist()), tested.index, dtype="float64")
    lower = measure_of(metric).lower_is_better
    return found.assign(verdict=[verdict_of(test, lower) for test in found.to_dict("records")])


def _test(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, float]:
    """Test two methods on the images of the runs that both have."""
    if set(ours["select_on"]) != set(theirs["select_on"]):
        return {}
    key = ["fold", "seed", "image", "target", "unit"]
    pairs = ours.merge(theirs[[*key, "number"]], on=key, suffixes=("", "_theirs"))
    groups_of = {"ours": ("number", "mean"), "theirs": ("number_theirs", "mean"), "group": ("group", "first")}
    means = pairs.groupby("unit").agg(**groups_of)
    groups = None if means["group"].isna().any() else means["group"].to_numpy()
    if len(means if groups is None else np.unique(groups)) < 2:
        return {"n": len(means)}
    one, other = means["ours"].to_numpy(), means["theirs"].to_numpy()
    found = bootstrap_difference(one, other, groups=groups)
    p = sign_flip_test(one, other, groups=groups)
    return {"n": found.images, "difference": found.mean, "low": found.low, "high": found.high, "p": p}

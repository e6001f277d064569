"""What holds for every list, split and scale, tried on many; and the readers on odd ones (scripts/fuzz.py)."""

import csv
import importlib.util
import io
import logging
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from numclip_lightning.data.base.labels import Label, read_labels
from numclip_lightning.data.base.splits import random_split
from numclip_lightning.scale import Level, OrdinalScale
from support.places import REPOSITORY

QUICK = settings(
    max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)

names = st.text(st.characters(exclude_characters="\\\0\r", exclude_categories=["Cs"]), min_size=1, max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=64)


@QUICK
@given(st.lists(st.tuples(names, numbers), min_size=1, max_size=8), st.sampled_from(",;\t|"))
def test_what_csv_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float]],
                                      delimiter: str) -> None:  # fmt: skip
    rows = [(f"{place}{name.strip()}.jpg", number) for place, (name, number) in enumerate(rows)]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([("path", "target"), *rows])
    # What looks like entries inside a name is refused, see test_list_faults.
    assume(not any("\n" in name and delimiter in name for name, _ in rows))
    file = tmp_path_factory.mktemp("list") / "list.csv"
    file.write_text(text.getvalue(), encoding="utf-8", newline="")
    assert [(label.path, label.target) for label in read_labels(file)] == rows


@QUICK
@given(
    st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), st.sampled_from("abcdef"))), min_size=2, max_size=40),
    st.floats(0.05, 0.9),
    st.integers(0, 99),
)
def test_a_split_divides_and_groups_stay_together(
    entries: list[tuple[int, str | None]], share: float, seed: int
) -> None:
    table = [
        Label(f"{line}.jpg", (float(value),), group, line, Path("list.csv"))
        for line, (value, group) in enumerate(entries, 1)
    ]
    assume(len({group or line for line, (_, group) in enumerate(entries)}) > 1)
    parts = random_split(table, share, seed)
    assert sorted(label.line for part in parts for label in part) == list(range(1, len(table) + 1))
    assert all(parts)
    groups = [{label.group for label in part} - {None} for part in parts]
    assert not groups[0] & groups[1]
    assert [list(part) for part in random_split(table, share, seed)] == [list(part) for part in parts]


@st.composite
def scales(draw: st.DrawFn) -> OrdinalScale:
    step = draw(st.sampled_from([0.1, 0.25, 0.5, 1, 2, 10]))
    low, ranks = draw(st.integers(-50, 50)) * step, draw(st.integers(1, 60))
    starts = sorted(draw(st.sets(st.integers(1, max(ranks - 1, 1)), max_size=5))) if ranks > 1 else []
    levels = [Level(f"level {start}", low + start * step) for start in [0, *starts]]
    return OrdinalScale(low, low + (ranks - 1) * step, step=step, levels=levels if draw(st.booleans()) else [])


@QUICK
@given(scales(), st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_levels_cover_a_scale_in_order(scale: OrdinalScale, shares: list[float]) -> None:
    assert OrdinalScale.of(scale.to_dict()) == scale
    values = [scale.minimum + rank * scale.step for rank in range(scale.num_ranks)]
    starts = scale.lower.double().tolist()
    # A slow twin: the last level that starts at or below the value.
    expected = [max(k for k, start in enumerate(starts) if start <= value + scale.step / 4) for value in values]
    assert scale.to_level(scale.values).tolist() == expected
    assert sorted(set(expected)) == list(range(scale.num_levels))
    torch.testing.assert_close(scale.values.double(), torch.tensor(values, dtype=torch.float64), rtol=1e-6, atol=1e-5)
    targets = torch.tensor([scale.minimum + share * (scale.maximum - scale.minimum) for share in sorted(shares)])
    levels = scale.to_level(targets)
    assert levels.tolist() == sorted(levels.tolist())
    assert scale.contains(targets).all()
    # The last one, `upper`, is `lower` minus a step, rounded to float32.
    slack = 1e-3 * scale.step
    assert (scale.lower <= scale.centers + slack).all()
    assert (scale.centers <= scale.upper + slack).all()


@pytest.mark.parametrize("what", ["lists", "images"])
def test_readers_answer_or_refuse_in_words(what: str) -> None:
    spec = importlib.util.spec_from_file_location("fuzz", REPOSITORY / "scripts" / "fuzz.py")
    assert spec
    assert spec.loader
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    logging.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            counts = fuzz.fuzz(what, 150)
    finally:
        logging.disable(logging.NOTSET)
    assert counts["read"] > 5
    assert counts["refused"] > 20

"""The page of metrics names every metric of the table, as reports name it, with its direction; and every group."""

import re

from numclip_lightning.metrics import measure_of
from numclip_lightning.metrics.table import GROUPS, METRICS
from support.places import REPOSITORY

PAGE = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_every_metric_has_its_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| (lower|higher|nearer to 0) \|", PAGE, re.MULTILINE)
    keys = [key.format({"cs{}": 5}.get(key, 1)) for key in METRICS]
    expected = [(key, measure_of(f"test_{key}").label, measure_of(f"test_{key}").direction) for key in keys]
    assert rows == expected


def test_every_group_has_its_keys() -> None:
    for name, keys in GROUPS.items():
        words = ", ".join(f"`{key.format('K')}`" for key in keys) if name != "all" else "all of these"
        assert f"| `{name}` | {words} |" in PAGE

"""From names in a configuration to metrics, and from a recorded metric to how it is read."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from torchmetrics import MetricCollection

from numclip_lightning.errors import ConfigError, near_matches
from numclip_lightning.metrics.measure import Measure, Needs
from numclip_lightning.metrics.table import GROUPS, METRICS
from numclip_lightning.scale import OrdinalScale

__all__ = ["DEFAULT", "build_metrics", "choose", "default_tolerance", "find_measure", "measure_of"]

DEFAULT = ("default",)
_NUMBER = r"(\d+(?:_\d+)?)"
# What a key with a number is shown as where known ones are listed.
_EXAMPLES = {"cs{}": 5, "acc_within_{}": 1}


def choose(names: Sequence[str], tolerance: float) -> list[str]:
    """Return the keys of the chosen metrics.

    Args:
        names: Keys such as `rmse`, `cs3` or `acc_within_2`, and groups: `default`, `values`, `levels`, `probabilities`
            and `all`. `mae` is always among them, as checkpoints are selected by it.
        tolerance: That of the cumulative score in groups, in the target's unit. It names the key: `cs5` for 5, and
            `cs0_5` for 0.5, since the names of modules can't contain a dot.

    Returns:
        Each key once, `mae` first.

    Raises:
        ConfigError: If a name is not known, or the tolerance is negative or not finite.

    Example:
        >>> choose(["default", "rps"], 0.5)
        ['mae', 'acc', 'acc_within_1', 'cs0_5', 'qwk', 'spearman', 'rps']
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ConfigError(f"tolerance is {tolerance}; give a distance of 0 or more in the target's unit.")
    # All digits, so that the number is read back as it was; never as 1e+06.
    digits = format(Decimal(str(float(tolerance))), "f")
    score = "cs" + (digits.rstrip("0").rstrip(".") if "." in digits else digits).replace(".", "_")
    keys = ["mae"]
    for name in [names] if isinstance(names, str) else names:
        found = find_measure(name)
        if name not in GROUPS and (found is None or found[0].needs == "spread"):
            known = [*GROUPS, *(key.format(_EXAMPLES.get(key)) for key in METRICS if key != "epsilon")]
            raise ConfigError(
                f"metrics has {name!r}, which is not known{near_matches(name, known) or '.'} Known are the groups "
                f"{', '.join(GROUPS)}, and {', '.join(known[len(GROUPS) :])} (with any number in place of 1 and 5)."
            )
        keys += [score if key == "cs{}" else key for key in GROUPS.get(name, (name,))]
    return list(dict.fromkeys(keys))


def default_tolerance(scale: OrdinalScale) -> float:
    """Return the tolerance of the cumulative score that fits a scale.

    5 on scales like ages, in steps of 1 over a range of 40 to 150, as the field reports (CS@5). Else a twentieth of the
    range, rounded down to 1, 2 or 5 times a power of ten, and at least one step: CS@5 of grades 0 to 4 is always 1.

    Args:
        scale: The scale of the targets.

    Returns:
        The tolerance in the target's unit.

    Example:
        >>> [default_tolerance(OrdinalScale(0, end)) for end in (4, 30, 77, 1000)]
        [1.0, 1.0, 5.0, 50.0]
    """
    reach = scale.maximum - scale.minimum
    if scale.grid.finest == 1 and 40 <= reach <= 150:
        return 5.0
    unit = Decimal(1).scaleb(Decimal(str(reach / 20)).adjusted()) if reach else Decimal(0)
    rounded = max((float(unit * times) for times in (1, 2, 5) if float(unit * times) <= reach / 20), default=0.0)
    return max(rounded, float(scale.grid.finest))


def build_metrics(keys: Sequence[str], scale: OrdinalScale) -> dict[Needs, MetricCollection]:
    """Build metrics, sorted by what their `update` takes.

    Args:
        keys: See `choose`.
        scale: The scale of the targets.

    Returns:
        A collection for each kind of update that one of the metrics takes.

    Raises:
        ConfigError: If a key is not known.
    """
    found: dict[Needs, dict[str, object]] = {}
    for key in keys:
        measure = find_measure(key)
        if measure is None:
            raise ConfigError(f"no metric has the key {key!r}; see the table of metrics.")
        row, number = measure
        found.setdefault(row.needs, {})[key] = row.make(scale, number)
    # Without groups: torchmetrics merges metrics whose states are equal after the first batch, which those of two
    # metrics may be by chance.
    return {needs: MetricCollection(metrics, compute_groups=False) for needs, metrics in found.items()}  # type: ignore[arg-type]


def find_measure(key: str) -> tuple[Measure, float] | None:
    """Return the metric of a key without a split, and the number in the key (0 if it has none); None if unknown."""
    for pattern, measure in METRICS.items():
        if match := re.fullmatch(pattern.replace("{}", _NUMBER), key):
            text = "".join(match.groups()).replace("_", ".")
            if pattern == "acc_within_{}" and "." in text:
                # Levels are whole.
                return None
            label = measure.label.format(text, s="" if text == "1" else "s")
            return replace(measure, label=label), float(text or 0)
    return None


def measure_of(metric: str) -> Measure:
    """Look up how to read a metric.

    Args:
        metric: Its key, the split in front: `test_mae`, `test_acc_within_1`, `test_cs5` (the cumulative score at 5),
            `test_cs0_5` (at 0.5).

    Raises:
        ConfigError: If no such metric is in the table.

    Example:
        >>> measure_of("test_cs5").title
        'Cumulative score at 5 (%)'
    """
    split, _, name = metric.partition("_")
    found = find_measure(name)
    if found and split in ("val", "test"):
        return found[0]
    known = [f"test_{key}".format(_EXAMPLES.get(key)) for key in METRICS]
    raise ConfigError(
        f"metrics has {metric!r}, which is not known{near_matches(metric, known) or '.'} Known are {', '.join(known)} "
        "(with any number in place of 1 and 5), and the same with val_."
    )

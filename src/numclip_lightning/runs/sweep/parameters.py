"""The parameters of a space as Optuna's distributions, by the names that W&B gives to kinds of them."""

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from numclip_lightning.runs.sweep.space_file import Keys, SpaceFile

__all__ = ["Constant", "options", "read_parameter"]

_KEYS = ("distribution", "value", "values", "min", "max", "q")
_KINDS = ("constant", "categorical", "uniform", "q_uniform", "int_uniform", "log_uniform", "log_uniform_values")
# W&B's, which nothing here draws from.
_OTHER_KINDS = (
    "categorical_w_probabilities", "beta", "q_beta", "normal", "q_normal", "log_normal", "q_log_normal",
    "q_log_uniform", "q_log_uniform_values", "inv_log_uniform", "inv_log_uniform_values",
)  # fmt: skip
_OTHER_KEYS = ("probabilities", "mu", "sigma", "a", "b")


class Constant:
    """One value for all trials.

    Args:
        value: The value, a text where YAML has a list or a mapping.
    """

    def __init__(self, value: Any) -> None:
        self.value = value


def read_parameter(file: SpaceFile, keys: Keys, entry: Any) -> BaseDistribution | Constant:
    """Return what the trials choose a parameter from.

    Args:
        file: The space.
        keys: The way to the parameter.
        entry: What stands there.

    Raises:
        ConfigError: If it is no parameter of W&B, or of a kind that is not known here.
    """
    if not isinstance(entry, Mapping):
        shown = json.dumps(entry, default=str)
        raise file.error(keys, f"this is {shown}; give {{value: ...}}, {{values: [...]}} or {{min: ..., max: ...}}.")
    for name in entry:
        if name in _OTHER_KEYS:
            raise file.error((*keys, name), "W&B's distributions with this key are not known here; list values.")
    file.require_keys(keys, entry, _KEYS)
    kind = _kind(file, keys, entry)
    needed = {"constant": ("value",), "categorical": ("values",)}.get(kind, ("min", "max"))
    for name in needed:
        if name not in entry:
            raise file.error(keys, f"{kind} needs {' and '.join(needed)}.")
    for name in entry:
        if name not in (*needed, "distribution") and (name, kind) != ("q", "q_uniform"):
            raise file.error((*keys, name), f"{kind} has no {name}; remove it, or correct the distribution.")
    if kind == "constant":
        return Constant(_choice(file, (*keys, "value"), entry["value"]))
    return _categorical(file, keys, entry["values"]) if kind == "categorical" else _range(file, keys, kind, entry)


def options(distribution: BaseDistribution | Constant) -> list[Any]:
    """Return values that show whether a parameter can be set so: all choices, or both ends."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, FloatDistribution | IntDistribution):
        return [distribution.low, distribution.high]
    assert isinstance(distribution, Constant)
    return [distribution.value]


def _kind(file: SpaceFile, keys: Keys, entry: Mapping[str, Any]) -> str:
    """Return the name of the distribution; W&B guesses one that is not given in the same way."""
    if "distribution" in entry:
        kind = str(entry["distribution"])
        if kind in _OTHER_KINDS:
            raise file.error((*keys, "distribution"), f"W&B's {kind} is not known here; give {', '.join(_KINDS)}.")
        file.require_keys((*keys, "distribution"), [kind], _KINDS)
        return kind
    if "value" in entry or "values" in entry:
        return "constant" if "value" in entry else "categorical"
    if "min" not in entry or "max" not in entry:
        raise file.error(keys, "there is nothing to choose from; give value, values, or min and max.")
    if "q" in entry:
        return "q_uniform"
    return "int_uniform" if all(_is_whole(entry[name]) for name in ("min", "max")) else "uniform"


def _categorical(file: SpaceFile, keys: Keys, values: Any) -> BaseDistribution | Constant:
    if not isinstance(values, list) or not values:
        raise file.error((*keys, "values"), "give a list of at least one value.")
    choices = [_choice(file, (*keys, "values"), value) for value in values]
    for place, choice in enumerate(choices):
        if choice in choices[:place]:
            raise file.error((*keys, "values"), f"{json.dumps(choice)} is there twice, in this spelling or another.")
    return Constant(choices[0]) if len(choices) == 1 else CategoricalDistribution(choices)


def _choice(file: SpaceFile, keys: Keys, value: Any) -> Any:
    """Return a value as Optuna keeps it: lists and mappings as the text that the command line takes."""
    if isinstance(value, float) and not math.isfinite(value):
        raise file.error(keys, f"{value} is no finite number.")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    try:
        return json.dumps(value)
    except TypeError:
        raise file.error(keys, f"YAML reads {value} as a {type(value).__name__}; put it in quotes.") from None


def _range(file: SpaceFile, keys: Keys, kind: str, entry: Mapping[str, Any]) -> BaseDistribution:
    low, high = (_numeral(file, (*keys, name), entry[name]) for name in ("min", "max"))
    if not low < high:
        raise file.error(keys, f"min is {low} and max is {high}; min has to be below max.")
    if kind == "int_uniform":
        if not (_is_whole(low) and _is_whole(high)):
            raise file.error(keys, f"int_uniform needs whole numbers; min is {low}, max is {high}.")
        return IntDistribution(int(low), int(high))
    if kind == "q_uniform":
        return _steps(file, keys, low, high, _numeral(file, (*keys, "q"), entry.get("q", 1)))
    if kind == "log_uniform":
        try:
            low, high = math.exp(low), math.exp(high)
        except OverflowError:
            low = 0
        if low == 0:
            raise file.error(
                keys,
                "min and max of log_uniform are exponents of e; for the values themselves give log_uniform_values.",
            )
    if kind == "log_uniform_values" and low <= 0:
        raise file.error((*keys, "min"), f"{low} has no logarithm; give a number above 0.")
    return FloatDistribution(float(low), float(high), log=kind.startswith("log"))


def _steps(file: SpaceFile, keys: Keys, low: float, high: float, step: float) -> BaseDistribution:
    """Return the multiples of a step between two ends: whole numbers if all three are whole."""
    if step <= 0:
        raise file.error((*keys, "q"), f"{step} is no step; give a number above 0.")
    # As decimals: 0.3 is three times 0.1.
    first, last, by = (Decimal(str(number)) for number in (low, high, step))
    first, last = math.ceil(first / by) * by, math.floor(last / by) * by
    if last <= first:
        raise file.error(keys, f"between {low} and {high} there are no two multiples of {step}.")
    if all(isinstance(number, int) for number in (low, high, step)):
        return IntDistribution(int(first), int(last), step=int(by))
    return FloatDistribution(float(first), float(last), step=float(by))


def _numeral(file: SpaceFile, keys: Keys, value: Any) -> float:
    """Return a number; YAML reads 1e-5, without a point, as a text."""
    if not isinstance(value, bool) and isinstance(value, int | float | str):
        try:
            number = value if isinstance(value, int) else float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    raise file.error(keys, f"{json.dumps(value, default=str)} is no number.")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

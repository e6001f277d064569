"""When a trial is stopped early: W&B's `early_terminate: {type: hyperband}`, as Optuna's asynchronous halving."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner

from numclip_lightning.runs.sweep.space_file import SpaceFile

__all__ = ["Halving", "pruner_of", "read_halving"]

_KEYS = ("type", "min_iter", "max_iter", "eta", "s")


@dataclass(frozen=True)
class Halving:
    """Asynchronous successive halving (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning").

    At validation `first`, and each time `eta` times later, a trial goes on only if it is among the best of those that
    have come as far, a share of 1 / `eta`. W&B's hyperband does so, with one bracket.

    Args:
        first: The first validation at which a trial may be stopped, from 1.
        eta: A whole number of 2 or more.
        last: The last one, None for no end.
    """

    first: int
    eta: int
    last: int | None = None


def pruner_of(halving: Halving | None) -> BasePruner:
    """Return Optuna's pruner."""
    if halving is None:
        return NopPruner()
    return SuccessiveHalvingPruner(min_resource=halving.first, reduction_factor=halving.eta)


def read_halving(file: SpaceFile) -> Halving | None:
    """Read `early_terminate` of a space; None without it.

    Raises:
        ConfigError: If it is of a kind that is not known here.
    """
    given, keys = file.content.get("early_terminate"), ("early_terminate",)
    if given is None:
        return None
    if not isinstance(given, Mapping) or "type" not in given:
        raise file.error(keys, "give {type: hyperband, min_iter: 3}.")
    file.require_keys((*keys, "type"), [given["type"]], ("hyperband",))
    if "strict" in given:
        raise file.error((*keys, "strict"), "this is not known here: a trial is always judged where it has just come.")
    file.require_keys(keys, given, _KEYS)
    eta = _whole(file, given, "eta", 3, least=2)
    if ("min_iter" in given) == ("max_iter" in given):
        raise file.error(keys, "give min_iter, or max_iter and s, and not both.")
    if "min_iter" in given:
        if "s" in given:
            raise file.error((*keys, "s"), "s belongs to max_iter; remove it.")
        return Halving(_whole(file, given, "min_iter", 1, least=1), eta)
    most, brackets = _whole(file, given, "max_iter", 1, least=1), _whole(file, given, "s", 1, least=1)
    first = most // eta**brackets
    if first < 1:
        raise file.error(keys, f"max_iter / eta^s is {most} / {eta}^{brackets}, below 1; lower s.")
    return Halving(first, eta, first * eta ** (brackets - 1))


def _whole(file: SpaceFile, given: Mapping[str, Any], name: str, default: int, *, least: int) -> int:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise file.error(("early_terminate", name), f"{value!r} is no whole number of {least} or more.")
    return value

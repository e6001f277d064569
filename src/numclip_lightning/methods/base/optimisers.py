"""Optimisers and schedules of any class, with a learning rate per part of a model, all from plain values.

Plain values, and not callables, because checkpoints with them load with `weights_only=True`, and because a schedule
such as OneCycleLR needs numbers (the total of steps, a peak for each part) that only the trainer and the learning rates
know.
"""

import importlib
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR

from numclip_lightning.errors import ConfigError, check_choice, near_matches
from numclip_lightning.methods.base.radam import PublishedRAdam
from numclip_lightning.methods.base.rates import LearningRates, by_layer

__all__ = [
    "Interval",
    "LearningRates",
    "OptimizerSpec",
    "SchedulerSpec",
    "build_optimizer",
    "build_scheduler",
]

Interval = Literal["epoch", "step"]

_Built = TypeVar("_Built")

_log = logging.getLogger(__name__)

# Found by their bare names, beside those of `torch.optim`.
_OWN_OPTIMISERS: dict[str, type[Optimizer]] = {"PublishedRAdam": PublishedRAdam}

# Values of arguments that are left out, by class. As defaults of `args`, they would apply to another name too.
_USUAL_ARGS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9},  # as CoOp's code
    "MultiStepLR": {"milestones": [60]},  # as the code of OrdinalCLIP and NumCLIP
}


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimiser by name.

    Args:
        name: A class of `torch.optim`, `PublishedRAdam` (the RAdam of the published code, which rests in its first five
            steps), or the dotted path of any other subclass of `torch.optim.Optimizer`.
        args: Its arguments except the parameters and the learning rate, which the parts set. Without it, SGD's
            `momentum` is 0.9.
    """

    name: str = "RAdam"
    args: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find the class and check the argument names."""
        _check_args("optimizer", self.find(), self.args, brought=("params", "lr"))

    def find(self) -> type[Optimizer]:
        """Return the class."""
        return _find_class("optimizer", self.name, {**vars(torch.optim), **_OWN_OPTIMISERS}, "torch.optim", Optimizer)


@dataclass(frozen=True)
class SchedulerSpec:
    """A learning rate schedule by name.

    Args:
        name: A class of `torch.optim.lr_scheduler`, or the dotted path of any other subclass of its `LRScheduler`.
        args: Its arguments except the optimiser. Without them, `total_steps` and `T_max` are the length of the training
            in the units of `interval`, `max_lr` is each part's learning rate, and MultiStepLR drops the rates once, at
            60 (`milestones`), as published.
        interval: Whether it advances after each epoch or each optimiser step.
    """

    name: str = "MultiStepLR"
    args: dict[str, Any] = field(default_factory=dict)
    interval: Interval = "epoch"

    def __post_init__(self) -> None:
        """Find the class and check the argument names."""
        check_choice("lr_scheduler.interval", self.interval, get_args(Interval))
        _check_args("lr_scheduler", self.find(), self.args, brought=("optimizer",))

    def find(self) -> type[LRScheduler]:
        """Return the class."""
        return _find_class(
            "lr_scheduler", self.name, vars(torch.optim.lr_scheduler), "torch.optim.lr_scheduler", LRScheduler
        )


def build_optimizer(
    spec: OptimizerSpec,
    parts: Mapping[str, list[nn.Parameter]],
    learning_rates: LearningRates,
    image_layers: Sequence[Sequence[nn.Parameter]] = (),
) -> Optimizer:
    """Build an optimiser with a parameter group for each part that is trained.

    Args:
        spec: The optimiser.
        parts: The parameters of each part, under the names of `LearningRates`.
        learning_rates: The rate of each part.
        image_layers: The layers of the image tower from the lowest on. With a `layer_decay`, each is a group of its
            own, `image_encoder.0` and so on; what is in none of them is counted with the top.

    Raises:
        ConfigError: If nothing is left to train.
    """
    rates, decay = learning_rates.by_part(), learning_rates.layer_decay
    groups = []
    for part, parameters in parts.items():
        layers = image_layers if part == "image_encoder" and decay < 1 else ()
        rate = rates[part] * learning_rates.factor(part, parameters)
        for name, members, share in by_layer(part, parameters, layers, decay):
            if trained := [parameter for parameter in members if parameter.requires_grad]:
                groups.append({"name": name, "params": trained, "lr": rate * share})
    if not groups:
        raise ConfigError(
            f"nothing is left to train: the learning rates of {', '.join(parts)} are all 0; raise one of them, "
            "or use `numclip test`, which needs no training."
        )
    args = {**_USUAL_ARGS.get(spec.name, {}), **spec.args}
    return _build("optimizer", spec, lambda: spec.find()(groups, **args))


def build_scheduler(spec: SchedulerSpec, optimizer: Optimizer, duration: int) -> LRScheduler:
    """Build a schedule.

    Args:
        spec: The schedule.
        optimizer: The optimiser whose rates it sets.
        duration: The length of the training in the units of `spec.interval`.

    Raises:
        ConfigError: If the class refuses its arguments, or the schedule can't go on to the end of the training.
    """
    accepted = inspect.signature(spec.find()).parameters
    known = {"total_steps": duration, "T_max": duration, "max_lr": [group["lr"] for group in optimizer.param_groups]}
    if "epochs" in spec.args:
        # OneCycleLR takes its length either way, not both.
        del known["total_steps"]
    filled = {name: value for name, value in known.items() if name in accepted} | _USUAL_ARGS.get(spec.name, {})
    args = {**filled, **spec.args}
    if issubclass(spec.find(), OneCycleLR):
        args |= _first_step_at_the_peak(args)
    scheduler = _build("lr_scheduler", spec, lambda: spec.find()(optimizer, **args))
    if isinstance(scheduler, MultiStepLR) and min(scheduler.milestones, default=duration) >= duration:
        _log.warning(
            "lr_scheduler: the training takes %d %ss, so the rates never drop (milestones %s); "
            "set lr_scheduler.args.milestones or another lr_scheduler.name",
            duration, spec.interval, sorted(scheduler.milestones),
        )  # fmt: skip
    _check_length(scheduler, spec, duration)
    return scheduler


def _first_step_at_the_peak(args: Mapping[str, Any]) -> dict[str, float]:
    """Return `pct_start` so that a rise of OneCycleLR of a single step begins at its end; empty for longer ones.

    torch divides by the steps of the rise less one: 10 steps with a `pct_start` of 0.1 would end in an error, where
    9 start at the peak too.
    """
    steps = args.get("total_steps") or (args.get("epochs") or 0) * (args.get("steps_per_epoch") or 0)
    share = args.get("pct_start", 0.3)
    if not isinstance(share, int | float) or not isinstance(steps, int) or float(share * steps) != 1:
        return {}
    return {"pct_start": share * (1 - 1e-9)}


def _check_length(scheduler: LRScheduler, spec: SchedulerSpec, duration: int) -> None:
    """Refuse a schedule that would stop with an error before the training ends; warn of one that climbs again."""
    length = f"the training takes {duration} {spec.interval}s"
    if isinstance(scheduler, OneCycleLR) and scheduler.total_steps < duration:
        raise ConfigError(
            f"lr_scheduler.args={spec.args} end after {scheduler.total_steps} {spec.interval}s, and {length}; leave "
            "the length out of the arguments, which is then that of the training."
        )
    if isinstance(scheduler, CosineAnnealingLR) and scheduler.T_max < duration:
        _log.warning(
            "lr_scheduler: T_max=%d, and %s, so that the rates climb again; leave T_max out for one fall",
            scheduler.T_max, length,
        )  # fmt: skip


def _build(argument: str, spec: OptimizerSpec | SchedulerSpec, build: Callable[[], _Built]) -> _Built:
    """Call a constructor; an error is due to the user's `args`."""
    try:
        return build()
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"{argument}.args={spec.args} don't fit {spec.name}: {error}.") from error


def _find_class(argument: str, name: str, named: Mapping[str, Any], home: str, base: type[Any]) -> type[Any]:
    """Find a subclass of `base` by its name, in `named` (what the module `home` has), or by its dotted path."""
    if "." in name:
        module_name, _, attribute = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(module_name), attribute, None)
        except ImportError as error:
            raise ConfigError(f"{argument}.name {name!r} can't be imported: {error}.") from error
    else:
        found = named.get(name)
    if not (inspect.isclass(found) and issubclass(found, base) and found is not base):
        known = [key for key, value in named.items() if inspect.isclass(value) and issubclass(value, base)]
        suggestion = near_matches(name, known) or "."
        raise ConfigError(
            f"{argument}.name {name!r} is no subclass of {base.__name__} in {home}{suggestion}"
            " Give a name from there, or the dotted path of a class of your own."
        )
    return found


def _check_args(argument: str, found: type[Any], args: Mapping[str, Any], brought: tuple[str, ...]) -> None:
    """Refuse arguments that the class does not take, before anything is built."""
    signature = inspect.signature(found).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.values()):
        return
    for name in args:
        if name in brought:
            raise ConfigError(f"{argument}.args.{name} is set by the project itself (see learning_rates); remove it.")
        if name not in signature:
            raise ConfigError(
                f"{argument}.args: {found.__name__} takes no {name!r}{near_matches(name, signature) or '.'} "
                f"If it was meant for another class, set {argument}.args={{}}."
            )

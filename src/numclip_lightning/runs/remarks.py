"""What a configuration asks for in vain: arguments that contradict each other, or that change nothing as it is."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numclip_lightning.errors import ConfigError, NumClipError
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.runs.flatten import flatten

__all__ = ["contradictions", "idle_arguments", "idle_rates", "say_what_is_idle"]

_log = logging.getLogger(__name__)

Flat = Mapping[str, Any]


def _smooths(flat: Flat) -> bool:
    return (
        str(flat.get("model.imbalance.weights")).endswith("lds")
        or bool(flat.get("model.imbalance.fds"))
        or bool(flat.get("model.imbalance.smooth_prior"))
    )


def _counts_values(flat: Flat) -> bool:
    return (
        any(flat.get(f"data.{name}") for name in ("num_shots", "shift_values", "sample_power"))
        or flat.get("data.long_tail", 1.0) != 1.0
        or any(name.startswith("data.oversample") and value is not None for name, value in flat.items())
    )


# An argument, its value that asks for nothing, what reads it, and when.
_READERS: tuple[tuple[str, Any, str, Callable[[Flat], object]], ...] = (
    ("early_stopping.min_delta", 0.0, "early_stopping.patience", lambda f: f.get("early_stopping.patience")),
    ("averaging.start", 0, "averaging.decay", lambda f: f.get("averaging.decay")),
    ("length.min_epochs", 1, "length.steps", lambda f: f.get("length.steps")),
    ("data.shift_factor", 1.0, "data.shift_values", lambda f: f.get("data.shift_values")),
    ("data.value_step", None, "data.num_shots, long_tail, shift_values, sample_power or oversample", _counts_values),
    ("data.weight_column", None, "model.imbalance.weights=list", lambda f: f.get("model.imbalance.weights") == "list"),
    (
        "data.propensity_column", None, "model.imbalance.weights=propensity",
        lambda f: f.get("model.imbalance.weights") == "propensity",
    ),
    ("model.imbalance.noise", None, "model.imbalance.balanced_mse", lambda f: f.get("model.imbalance.balanced_mse")),
    ("model.imbalance.conr_width", None, "model.imbalance.conr", lambda f: f.get("model.imbalance.conr")),
    (
        "model.imbalance.clip", 10.0, "model.imbalance.weights",
        lambda f: f.get("model.imbalance.weights", "none") != "none",
    ),
    (
        "model.imbalance.smooth_prior", False, "model.imbalance.logit_adjustment",
        lambda f: f.get("model.imbalance.logit_adjustment"),
    ),
    ("model.imbalance.kernel_size", 5, "model.imbalance.weights=lds, smooth_prior or fds", _smooths),
    ("model.imbalance.kernel_sigma", 2.0, "model.imbalance.weights=lds, smooth_prior or fds", _smooths),
)  # fmt: skip


def contradictions(given: Mapping[str, Any]) -> list[NumClipError]:
    """Return what of a fit can't be had together.

    Args:
        given: The sections of a run as plain values.
    """
    flat, found = _flat(given), list[str]()
    patience, share = flat.get("early_stopping.patience"), flat.get("trainer.limit_val_batches")
    if patience is not None and share == 0:
        found.append(
            f"early_stopping.patience is {patience}, and trainer.limit_val_batches=0 leaves out the validation that it "
            "waits for; set early_stopping.patience=null, or validate."
        )
    epochs, every = flat.get("trainer.max_epochs"), flat.get("trainer.check_val_every_n_epoch")
    if patience is not None and isinstance(every, int) and isinstance(epochs, int) and 0 < epochs < every:
        found.append(
            f"trainer.check_val_every_n_epoch is {every}, so that a fit of max_epochs={epochs} never validates, "
            f"and early_stopping.patience={patience} has nothing to wait for; give {epochs} or less."
        )
    return [ConfigError(message) for message in found]


def idle_arguments(given: Mapping[str, Any]) -> list[str]:
    """Return a remark for each argument of a fit that changes nothing, because what reads it is switched off.

    Args:
        given: The sections of a run as plain values.

    Example:
        >>> idle_arguments({"averaging": {"decay": 0.0, "start": 100}})
        ['averaging.start=100 changes nothing without averaging.decay; set that too, or leave it out']
    """
    flat = _flat(given)
    found = [
        f"{name}={flat[name]} changes nothing without {reader}; set that too, or leave it out"
        for name, usual, reader, is_read in _READERS
        if name in flat and flat[name] != usual and not is_read(flat)
    ]
    return found + _kept_in_vain(flat)


def _kept_in_vain(flat: Flat) -> list[str]:
    """Return a remark on a folder of kept features into which none, or not those of training, will go."""
    folder, rate = flat.get("features.folder"), flat.get("model.learning_rates.image_encoder", 0)
    if folder is None or flat.get("features.enabled") is False:
        return []
    if rate:
        return [
            f"features.folder={folder} keeps nothing: the image tower is trained (model.learning_rates.image_encoder="
            f"{rate}), and its features change; set the rate to 0, or leave the folder out"
        ]
    if flat.get("data.augment"):
        return [
            f"features.folder={folder} keeps the validation images alone: data.augment=true shows other crops of the "
            "training images in every epoch; set data.augment=false to keep these too"
        ]
    return []


def idle_rates(flags: Mapping[str, float], parts: Mapping[str, int], method: str) -> list[str]:
    """Return a remark for each learning rate that was given as a flag and is of a part that the method lacks.

    Args:
        flags: The rates that the command line gives, by part.
        parts: The number of parameters of each part of the method.
        method: Its name.

    Example:
        >>> idle_rates({"adapter": 1e-4, "head": 1e-3}, {"image_encoder": 90, "head": 8}, "L1Regression")
        ['--model.learning_rates.adapter=0.0001 changes nothing: L1Regression has no adapter to train (it has head, \
image_encoder)']
    """
    present = sorted(part for part, size in parts.items() if size)
    return [
        f"--model.learning_rates.{part}={rate:g} changes nothing: {method} has no {part} to train (it has "
        f"{', '.join(present)})"
        for part, rate in flags.items()
        if rate and part not in present
    ]


def say_what_is_idle(given: Mapping[str, Any], method: OrdinalMethod, words: Sequence[str]) -> None:
    """Warn of arguments that change nothing, before a fit.

    Args:
        given: The sections of the run as plain values.
        method: Its method, built.
        words: The words of the command line.
    """
    flags = {
        part: rate
        for part, rate in method.learning_rates.by_part().items()
        if any(word.startswith(f"--model.learning_rates.{part}=") for word in words)
    }
    sizes = {part: sum(p.numel() for p in parameters) for part, parameters in method.parts().items()}
    for remark in [*idle_arguments(given), *idle_rates(flags, sizes, type(method).__name__)]:
        _log.warning("%s", remark)


def _flat(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return sections with the names of flags, `model.imbalance.noise`, without `init_args`."""
    return {name.replace(".init_args.", "."): value for name, value in flatten(dict(given)).items()}

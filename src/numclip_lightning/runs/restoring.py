"""A method as its checkpoint knows it: the arguments of a checkpoint in place of configuration and flags."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.saved import CLASS_PATH, NOT_ARGUMENTS
from numclip_lightning.models.normalization import trained_normalization
from numclip_lightning.runs.checkpoints import read_hyperparameters
from numclip_lightning.runs.flatten import flatten

__all__ = ["ignored_flags", "restore_arguments", "restore_normalization"]

_log = logging.getLogger(__name__)


def restore_arguments(
    parser: LightningArgumentParser, config: Namespace, verb: str, path: str, words: Sequence[str]
) -> Namespace:
    """Let the hyperparameters of a checkpoint override configuration and flags, but for the place of the CLIP.

    That may have moved, or be missing on the machine that tests or predicts, and the checkpoint holds its weights.

    Args:
        parser: The parser of the run.
        config: What it has read from files and flags.
        verb: `validate`, `test`, `predict` or `fit`.
        path: The checkpoint.
        words: The words of the command line, for a warning about those that are overridden.

    Raises:
        ConfigError: If the file is no checkpoint of this program.
    """
    known = read_hyperparameters(path)
    arguments = {key: value for key, value in known.items() if key not in NOT_ARGUMENTS}
    given = config[verb].model.init_args.as_dict()
    method = {"class_path": known[CLASS_PATH], "init_args": arguments}
    config = parser.parse_object({verb: {"model": method}}, config)
    if ignored := ignored_flags(words, given, config[verb].model.init_args.as_dict()):
        _log.warning("--ckpt_path: the arguments of the checkpoint are used, not %s", ", ".join(ignored))
    return config


def restore_normalization(method: OrdinalMethod, path: str) -> None:
    """Normalise images as the weights in a checkpoint were trained, where `pretrained: null` asks for no others.

    The weights of a tag may have been trained on images that were normalised in another way than its model's default.

    Args:
        method: The method as it is built; its images' mean and deviation are changed, and its hyperparameters name
            the tag, for the checkpoints that it will make.
        path: The checkpoint.
    """
    known = read_hyperparameters(path)
    if method.pretrained is None and (found := trained_normalization(known["backbone"], known["pretrained"])):
        method.clip.mean, method.clip.std = found
        method.hparams["pretrained"] = known["pretrained"]


def ignored_flags(words: Sequence[str], given: Mapping[str, Any], used: Mapping[str, Any]) -> list[str]:
    """Describe the flags of the method that a checkpoint overrides with other values.

    Args:
        words: The words of the command line.
        given: The method's arguments before the checkpoint is read, nested.
        used: The same from the checkpoint.

    Example:
        >>> ignored_flags(["--model.tolerance=50"], {"tolerance": 50.0}, {"tolerance": 20.0})
        ['--model.tolerance=50.0 (the checkpoint has 20.0)']
    """
    flags = {word.partition("=")[0].removeprefix("--model.") for word in words if word.startswith("--model.")}
    before, after = flatten(given), flatten(used)
    return [
        f"--model.{key}={value} (the checkpoint has {after[key]})"
        for key, value in before.items()
        if key in after and after[key] != value and any(key == flag or key.startswith(f"{flag}.") for flag in flags)
    ]

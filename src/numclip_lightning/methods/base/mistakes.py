"""All mistakes in the arguments of a method, found without building it: no weights are read."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import lightning as L

from numclip_lightning.errors import NumClipError, collecting
from numclip_lightning.methods.base.construction import from_plain
from numclip_lightning.methods.base.method import OrdinalMethod

__all__ = ["mistakes_in"]


def mistakes_in(kind: type[OrdinalMethod], arguments: Mapping[str, Any]) -> list[NumClipError]:
    """Return what is wrong with the arguments of a method: each by itself, then what contradicts each other.

    Args:
        kind: The class of the method.
        arguments: Its arguments, as plain values or built; those that it does not take are passed over.

    Example:
        >>> from numclip_lightning.methods import NumCLIP
        >>> rates = {"head": -1}
        >>> scale = {"minimum": 5, "maximum": 1}
        >>> for mistake in mistakes_in(NumCLIP, {"scale": scale, "learning_rates": rates}):
        ...     print(mistake)
        scale.minimum 5 is greater than scale.maximum 1; swap them.
        learning_rates.head is -1; give 0 (frozen) or a positive number.
    """
    found: list[NumClipError] = []
    method = kind.__new__(kind)
    # It takes attributes; the towers are never built.
    L.LightningModule.__init__(method)
    for argument in fields(kind):
        default = argument.default if argument.default_factory is MISSING else argument.default_factory()
        value = arguments.get(argument.name, default) if argument.init else default
        if value is not MISSING:
            with collecting(found):
                setattr(method, argument.name, from_plain(argument.type, value))
    for check in method.checks():
        with collecting(found):
            check()
    return found

"""Arguments of a method: fields of a keyword-only dataclass, read from plain values and saved as plain values."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass
from typing import Any, dataclass_transform, get_args

__all__ = ["KeywordDataclass", "from_plain", "plain_arguments", "to_plain"]

_FIELDS = "__dataclass_fields__"


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(field,))
class KeywordDataclass:
    """Mixin that turns every subclass into a keyword-only dataclass, so that no subclass can forget the decorator.

    In a subclass

    - `name: type = default` is a new argument;
    - `name = default` gives an inherited argument another default;
    - `name: type = field(default=..., init=False)` fixes an inherited argument, which is no flag any more;
    - `name: type = field(init=False)` declares an attribute that is set later.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Apply the decorator."""
        super().__init_subclass__(**kwargs)
        own = dict(inspect.get_annotations(cls))
        merged = {f.name: f for base in reversed(cls.__mro__[1:]) for f in _fields_of(base)}
        for name, found in merged.items():
            nearest = next(
                vars(base)[_FIELDS][name] for base in cls.__mro__[1:] if name in inspect.get_annotations(base)
            )
            if name in vars(cls):
                own.setdefault(name, found.type)
            elif nearest is not found:
                # `dataclass` takes all fields of one base class before those of the next, also those that both inherit.
                own[name] = nearest.type
                setattr(cls, name, field(default=nearest.default, init=nearest.init))
        cls.__annotations__ = own
        dataclass(kw_only=True, eq=False, repr=False)(cls)


def _fields_of(kind: type) -> Sequence[Field[Any]]:
    return fields(kind) if is_dataclass(kind) else ()


def from_plain(kind: Any, value: Any) -> Any:
    """Return a value as it is, or build the dataclass that it describes.

    Args:
        kind: The declared type: a dataclass, an optional dataclass, or anything else.
        value: A value of that type, or for a dataclass the mapping of its arguments, as checkpoints hold it.
    """
    if not isinstance(value, Mapping):
        return value
    found = [option for option in (get_args(kind) or (kind,)) if is_dataclass(option)]
    return found[0](**value) if found else value  # type: ignore[operator]


def to_plain(value: Any) -> Any:
    """Return a value as numbers, strings, lists and dicts, which a checkpoint loads with `weights_only=True`."""
    if is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def plain_arguments(instance: Any) -> dict[str, Any]:
    """Return the constructor's arguments of a dataclass as plain values, by name."""
    return {f.name: to_plain(getattr(instance, f.name)) for f in fields(instance) if f.init}

"""Keyword-only dataclasses: what subclasses write, and how values become plain."""

import inspect
from dataclasses import dataclass, field, fields
from typing import Any

import pytest

from numclip_lightning.methods.base.construction import KeywordDataclass, from_plain, plain_arguments, to_plain


@dataclass(frozen=True)
class Spec:
    name: str
    args: tuple[float, ...] = ()


class Base(KeywordDataclass):
    spec: Spec
    rate: float = 1.0
    tower: str = field(init=False)


class Mixin(Base):
    pass


class OtherDefault(Base):
    rate = 2.0


class Fixed(Base):
    rate: float = field(default=3.0, init=False)


class Joined(Mixin, OtherDefault):
    more: int = 0


class JoinedAndFixed(Mixin, Fixed):
    pass


def arguments_of(kind: type) -> dict[str, Any]:
    return {name: found.default for name, found in inspect.signature(kind).parameters.items()}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Base, {"rate": 1.0}),
        (OtherDefault, {"rate": 2.0}),
        (Fixed, {}),
        # As Python looks attributes up, and not as `dataclass` merges fields: the mixin has nothing of its own.
        (Joined, {"rate": 2.0, "more": 0}),
        (JoinedAndFixed, {}),
    ],
)
def test_an_argument_has_the_default_that_python_finds(kind: type, expected: dict[str, Any]) -> None:
    assert arguments_of(kind) == {"spec": inspect.Parameter.empty, **expected}


def test_a_fixed_argument_keeps_its_value() -> None:
    made: Any = JoinedAndFixed(spec=Spec("a"))
    assert made.rate == 3.0
    assert "tower" in {attribute.name for attribute in fields(made)}
    assert plain_arguments(made) == {"spec": {"name": "a", "args": []}}


def test_values_become_plain_and_come_back() -> None:
    spec = Spec("adam", (0.9, 0.99))
    plain = to_plain({"spec": spec, "levels": (1, [2])})
    assert plain == {"spec": {"name": "adam", "args": [0.9, 0.99]}, "levels": [1, [2]]}
    assert from_plain(Spec | None, {"name": "adam", "args": (0.9, 0.99)}) == spec
    assert from_plain(Spec, spec) is spec
    assert from_plain(Spec | None, None) is None
    assert from_plain(dict[str, Any], {"name": "adam"}) == {"name": "adam"}

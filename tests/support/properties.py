"""How many cases a property is tried on: a few in every run, many in the slow tests; the same ones every time."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

__all__ = ["holds_for"]


def holds_for(
    *cases: SearchStrategy[Any], few: int = 20, many: int = 500
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Try a test on drawn cases, given as its first arguments.

    Args:
        cases: What is drawn.
        few: How many cases an ordinary run tries.
        many: How many the slow tests try besides.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        def tried(cases_tried: int) -> None:
            settings(
                max_examples=cases_tried, deadline=None, database=None, derandomize=True,
                suppress_health_check=list(HealthCheck),
            )(given(*cases)(test))()  # fmt: skip

        tried.__name__, tried.__doc__, tried.__module__ = test.__name__, test.__doc__, test.__module__
        marked = [pytest.param(few, id="few"), pytest.param(many, id="many", marks=pytest.mark.slow)]
        return pytest.mark.parametrize("cases_tried", marked)(tried)

    return decorate

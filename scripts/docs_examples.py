"""What docstrings call `Example` is a section of examples: without this, the site shows its `>>>` as quotations."""

import re
from typing import Any

import griffe

__all__ = ["ExampleSections"]


class ExampleSections(griffe.Extension):
    """Names the sections as griffe knows them; mkdocs.yml asks for it."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section in the docstring of an object that was read.

        Args:
            obj: A module, class, function or attribute.
        """
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)

"""The code blocks and commands of a Markdown page."""

import re
import shlex
import textwrap
from pathlib import Path

from support.places import REPOSITORY


def blocks(text: str, language: str) -> list[tuple[str, str]]:
    """Return the name (often empty) and the text of every code block of a language."""
    return re.findall(rf"^```{language} ?(\S*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def indented(text: str) -> str:
    """Return a page whose blocks inside lists and boxes begin at the margin, so that they are found too."""
    return re.sub(r"^( +)```.*?^\1```$", lambda block: textwrap.dedent(block[0]), text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str, language: str = "console") -> list[list[str]]:
    """Return the words of every `numclip` command in the blocks of a language, without `numclip` itself and remarks."""
    lines = "".join(block for _, block in blocks(text, language)).replace("\\\n", " ").splitlines()
    found = (shlex.split(line, comments=True) for line in lines)
    return [words[1:] for words in found if words[:1] == ["numclip"]]


def workspace(folder: Path, *names: str) -> Path:
    """Make a folder in which commands of the pages can be parsed: the shipped configurations, and a user's own.

    Args:
        folder: An empty folder.
        names: The user's configurations, each with the content that docs/howto/own_data.md gives one.
    """
    (folder / "configs").symlink_to(REPOSITORY / "configs", target_is_directory=True)
    ((_, mine),) = blocks((REPOSITORY / "docs/howto/own_data.md").read_text(encoding="utf-8"), "yaml")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(mine, encoding="utf-8")
    return folder

"""The code blocks and commands of a Markdown page."""

import re
import shlex
import textwrap


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

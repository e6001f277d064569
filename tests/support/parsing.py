"""The command line up to the point where it would build something, for commands whose weights are not here."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from numclip_lightning.runs.command import NumClipCLI
from support.places import CONFIGS


class Parser(NumClipCLI):
    """`numclip fit | validate | test | predict`, which reads its words and builds nothing."""

    def _parse_ckpt_path(self) -> None:
        pass

    def instantiate_classes(self) -> None:
        """Build nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        pass


@cache
def _parser() -> Parser:
    return Parser(["fit", f"--config={CONFIGS / 'counting.yaml'}"])


def parse(words: Sequence[str]) -> Any:
    """Parse the words after `numclip` against every type; return the configuration.

    The parser is built once for all tests, which is most of the work.

    Raises:
        SystemExit: If a word is wrong (2), or after help (0).
    """
    cli = _parser()
    cli.parse_arguments(cli.parser, list(words))
    return cli.config

"""The configuration that a sweep starts from: what a trial changes is checked on it before the first one."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from typing import Any

import yaml

from numclip_lightning.errors import ConfigError, near_matches
from numclip_lightning.progress import watched
from numclip_lightning.runs.command import NumClipCLI
from numclip_lightning.runs.flatten import flags_of, flatten
from numclip_lightning.runs.folder import SHARED_KEYS
from numclip_lightning.runs.sweep.parameters import options
from numclip_lightning.runs.sweep.space import Space

__all__ = ["Configuration"]

# A trial ends before any test.
UNTESTED = "--test_after_fit=false"


class Configuration:
    """A configuration of `numclip fit`, and its parser.

    Args:
        words: The words after `fit`.

    Raises:
        ConfigError: If trials can't start from it. The parser itself exits with code 2.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = [*words, UNTESTED]
        cli = NumClipCLI(["fit", *self.words], until="parsed")
        self._parser, given = cli.parser, cli.config["fit"]
        if given.ckpt_path:
            raise ConfigError(
                f"ckpt_path is {given.ckpt_path}: its settings would go before those of every trial; leave it out."
            )
        self.settings = self._dump(cli.config)
        if isinstance(self.settings["seed_everything"], bool):
            raise ConfigError(
                f"seed_everything is {self.settings['seed_everything']}; give a number, so that trials differ in their "
                "settings alone."
            )
        if self._arguments("data").get("select_on") == "test":
            raise ConfigError(
                "data.select_on is test: trials would be chosen by the test images; add --data.select_on=val."
            )

    @property
    def seed(self) -> int:
        """The seed of every trial."""
        return int(self.settings["seed_everything"])

    @property
    def names(self) -> tuple[str, str]:
        """The names of the classes of the data and of the method."""
        data, method = (str(self.settings[key]["class_path"]).rpartition(".")[2] for key in ("data", "model"))
        return data, method

    @property
    def shots(self) -> int:
        """Training images per value; 0 for all."""
        return int(self._arguments("data").get("num_shots") or 0)

    @property
    def flat(self) -> dict[str, Any]:
        """The settings by the names that the command line has."""
        return {name.replace(".init_args.", "."): value for name, value in flatten(self.settings).items()}

    def with_values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings with those of a trial, as `numclip fit --config` takes them.

        Args:
            values: The values of a trial by their names, lists and mappings as JSON.
        """
        return self._dump(self._parse(values))

    def check(self, space: Space) -> None:
        """Refuse what the configuration doesn't take, before the first trial.

        Args:
            space: The choices.

        Raises:
            ConfigError: If there is no such key, or it can't have one of its values.
        """
        found = {name: options(one) for name, one in space.distributions.items()}
        found |= {name: [value] for name, value in space.constants.items()}
        rounds = max(map(len, found.values()))
        for number in watched(range(rounds), rounds, "checking the space", unit="round"):
            values = {name: choices[number % len(choices)] for name, choices in found.items()}
            if self._fault(values):
                # Which one it is.
                for name, value in values.items():
                    if fault := self._fault({name: value}):
                        raise space.error(name, f"{json.dumps(value)} can't be set: {self._with_hint(fault, name)}")
                raise ConfigError(f"{space.file.path}: these values don't go together: {self._fault(values)}")

    def _arguments(self, section: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.settings[section].get("init_args") or {}
        return found

    def _parse(self, values: Mapping[str, Any]) -> Any:
        return self._parser.parse_args(["fit", *self.words, *flags_of(values)])

    def _dump(self, config: Any) -> dict[str, Any]:
        resolved = yaml.safe_load(self._parser.dump(config, skip_unset=False))["fit"]
        return {key: resolved[key] for key in SHARED_KEYS if key in resolved}

    def _fault(self, values: Mapping[str, Any]) -> str:
        """Return what the parser says against values; empty if it takes them."""
        said = io.StringIO()
        try:
            with redirect_stderr(said):
                self._parse(values)
        except SystemExit:
            return " ".join(said.getvalue().rpartition("error: ")[2].split())
        return ""

    def _with_hint(self, fault: str, name: str) -> str:
        """Add the nearest key where the configuration has none of a name; the parser knows its last part alone."""
        known, plain = self.flat, name.replace(".init_args.", ".")
        if any(key == plain or key.startswith(f"{plain}.") for key in known):
            return fault
        hint = near_matches(plain, known, most=1)
        return re.sub(r"; did you mean .*?\?", "", fault) + hint if hint else fault

"""Words that are read by the parser of their verb alone: the same values, and the same errors, as by both parsers."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import Namespace

from numclip_lightning.runs.command import NumClipCLI
from support.places import REPOSITORY

COUNTING = f"--config={REPOSITORY / 'configs' / 'counting.yaml'}"
OVERLAY = f"--config={REPOSITORY / 'configs' / 'methods' / 'numclip_plus.yaml'}"


def kinds(value: Any) -> Any:
    """Values with their types, as 1 and 1.0 and True are equal."""
    if isinstance(value, Namespace):
        return {key: kinds(item) for key, item in vars(value).items()}
    return type(value), value


def test_the_values_are_those_of_both_parsers() -> None:
    added = ["--trainer.callbacks+=RichModelSummary", "--model.scale.maximum=30", "--test_after_fit", "yes"]
    words = ["fit", COUNTING, OVERLAY, *added]
    cli = NumClipCLI(words, until="parsed")
    both = cli.parser.parse_args(words)
    assert kinds(cli.config) == kinds(both)
    assert list(cli.config.fit.keys()) == list(both.fit.keys())
    assert cli.parser.dump(cli.config, skip_unset=False) == cli.parser.dump(both, skip_unset=False)


def test_an_error_is_that_of_both_parsers_and_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["validate", COUNTING, "--trainer.callbacks+=RichModelSummary", "--model.scale.maximum=old"]
    cli = NumClipCLI(["validate", COUNTING], until="parsed")
    said = []
    for read in (cli.parser.parse_args, lambda words: NumClipCLI(words, until="parsed")):
        with pytest.raises(SystemExit) as ended:
            read(wrong)
        assert ended.value.code == 2
        said.append(capsys.readouterr().err)
    assert said[1] == said[0]
    assert said[0].count("error:") == 1
    # What is added to a list is no misspelt name.
    assert "callbacks" not in said[0]


@pytest.mark.parametrize("flag", ["--print_config", "--print_config=skip_default"])
def test_a_configuration_that_is_asked_for_is_printed_and_nothing_runs(
    flag: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        NumClipCLI(["fit", COUNTING, OVERLAY, flag, "--data.batch_size=7"], until="parsed")
    assert ended.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["data"]["init_args"]["batch_size"] == 7
    assert printed["model"]["class_path"] == "numclip_lightning.methods.NumCLIPPlus"
    assert list(tmp_path.iterdir()) == []

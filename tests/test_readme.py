"""README: every command parses, and every file that it names is there."""

import re
import shlex
from pathlib import Path

import pytest

from numclip_lightning.runs.command import NumClipCLI
from support.command import failure
from support.places import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BLOCKS = "".join(re.findall(r"^```console\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)).replace("\\\n", "")
COMMANDS = [line for line in BLOCKS.splitlines() if line.startswith("numclip")]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped configurations, and the page's own."""
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs", target_is_directory=True)
    (mine,) = re.findall(r"^```yaml\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.yaml").write_text(mine, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


def test_there_is_a_command_for_everything() -> None:
    assert {line.split()[1] for line in COMMANDS} == {"fit", "predict", "benchmark", "splits"}


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.split()[1] in ("fit", "predict")])
def test_a_command_parses(command: str) -> None:
    words = shlex.split(command)[1:]
    if "help" in command:
        with pytest.raises(SystemExit) as stop:
            NumClipCLI(words)
        assert stop.value.code == 0
    else:
        assert NumClipCLI(words, until="parsed").verb == words[0]


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.split()[1] in ("benchmark", "splits")])
def test_a_command_with_a_parser_of_its_own_parses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)[1:]
    # Parsed in full, and stopped before anything runs: nothing to compare to, no datasets, and no lists at PATH.
    assert failure(*words, *(["--compare_to=nobody"] if words[0] == "benchmark" else [])) == 2
    error = capsys.readouterr().err
    assert any(stop in error for stop in ("compare_to is 'nobody'", "none of the datasets", "there is no train list"))


def test_every_file_it_names_is_there() -> None:
    links = re.findall(r"\]\((?!http|#)([^)#]+)", README)
    named = re.findall(r"`((?:configs|scripts|benchmarks)/[\w/.*]+)`", README)
    assert len(links) > 5
    assert len(named) > 20
    for name in [*links, *named]:
        assert list(REPOSITORY.glob(name)), name

"""README and the pages of the site: every command can be parsed, and every file that README names exists."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from numclip_lightning.cli import main
from numclip_lightning.runs.command import NumClipCLI
from support.command import failure
from support.pages import blocks, commands, indented, workspace
from support.places import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
# The pages of methods, of imbalance and of a method of one's own have tests of their own, beside what they are about.
PAGES = [
    page
    for page in sorted(REPOSITORY.glob("docs/**/*.md"))
    if page.parent.name != "methods" and page.stem not in ("imbalance", "add_a_method")
]
# Each command once, in the order in which a reader meets it.
COMMANDS = [
    shlex.split(words)
    for words in dict.fromkeys(
        shlex.join(words)
        for text in (README, *(page.read_text(encoding="utf-8") for page in PAGES))
        for words in commands(indented(text))
    )
]
OF_LIGHTNING = ("fit", "test", "predict")
_STOPS = (
    "compare_to is 'nobody'", "none of the datasets", "there is no train list", "neither a file, a folder nor",
    "doesn't exist", "scans.csv", "runs/RUN", "boxes.csv can't be read", "scale.yaml: no such file", "is no folder",
    "ckpt_path is none.ckpt", "none.ckpt is no file",
)  # fmt: skip


@pytest.fixture(autouse=True)
def in_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped configurations, and the page's own."""
    names = ("hands.yaml", "mine.yaml", "ratings.yaml", "scans.yaml", "runs/RUN/config.yaml")
    monkeypatch.chdir(workspace(tmp_path, *names))
    # What `start` writes for one list has no test list, but a share of the images.
    scans = (tmp_path / "scans.yaml").read_text(encoding="utf-8")
    (tmp_path / "scans.yaml").write_text(scans.replace("test_file: test.csv", "test_fraction: 0.2"), encoding="utf-8")


def test_there_is_a_command_for_everything() -> None:
    of_readme = {words[0] for words in commands(README)}
    assert of_readme == {"start", "check", "fit", "predict", "benchmark", "splits", "export", "serve"}


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] in OF_LIGHTNING], ids=shlex.join)
def test_a_command_can_be_parsed(words: list[str]) -> None:
    if any("help" in word for word in words):
        with pytest.raises(SystemExit) as stop:
            NumClipCLI(words, until="parsed")
        assert stop.value.code == 0
    else:
        assert NumClipCLI(words, until="parsed").verb == words[0]


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] not in OF_LIGHTNING], ids=shlex.join)
def test_a_command_with_a_parser_of_its_own_can_be_parsed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    # Parsed in full, and stopped before anything runs: nothing to compare to, no datasets, no lists, no run.
    if words[0] == "check":
        # Without `--near=null` it would fetch a backbone. Its lists are not here, which it says.
        assert main([*words, "--near=null"]) == 1
    else:
        before = {"benchmark": ["--compare_to=nobody"], "sweep": ["--ckpt_path=none.ckpt"]}
        if not {"--list", "--prune"} & {*words}:
            before["features"] = ["--ckpt_path=none.ckpt"]
        stop = before.get(words[0], [])
        assert failure(*words, *stop) == 2
    error = "".join(capsys.readouterr())
    assert any(stop in error for stop in _STOPS), error


def test_its_three_lines_give_the_number_that_they_say_without_a_network() -> None:
    ((_, lines),) = [block for block in blocks(README, "python") if "OrdinalPredictor" in block[1]]
    said = re.findall(r"print\(.*\)  # (.+)", lines)
    offline = (
        "import socket\n"
        "def refuse(*_, **__): raise OSError('no network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", offline + lines], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=True
    )
    assert result.stdout.splitlines() == said != []


def test_every_file_it_names_is_there() -> None:
    links = re.findall(r"\]\((?!http|#)([^)#]+)", README)
    named = re.findall(r"`((?:configs|scripts|docs)/[\w/.*]+)`", README)
    assert len(links) > 20
    assert len(named) > 20
    assert [name for name in [*links, *named] if not list(REPOSITORY.glob(name))] == []

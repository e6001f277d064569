"""`numclip --completion`: shells complete verbs, flags and values from its script, without starting a program."""

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest

from numclip_lightning.cli import VERBS, load, main
from numclip_lightning.commands.completion import SHELLS, parser_of

# Without a PATH, so that a script which starts a program fails.
_BASH = """
source {script}
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_numclip_without_equals
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the script of each shell."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        with pytest.MonkeyPatch.context() as patch, (folder / shell).open("w", encoding="utf-8") as file:
            patch.setattr("sys.stdout", file)
            assert main([f"--completion={shell}"]) == 0
    return folder


def run(*command: str, folder: Path) -> str:
    """Run a shell in a folder, without an environment; return what it prints."""
    done = subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout


def completed(scripts: Path, words: str, folder: Path | None = None) -> set[str]:
    """Return what bash offers for the last of some words, divided as bash divides them: at each `=` too."""
    code = _BASH.format(script=scripts / "bash", words=words)
    return set(run("/bin/bash", "--norc", "-c", code, folder=folder or scripts).split())


class TestBash:
    def test_verbs(self, scripts: Path) -> None:
        assert completed(scripts, "numclip ''") >= set(VERBS)
        assert completed(scripts, "numclip fi") == {"fit"}

    def test_flags_are_those_of_the_verb(self, scripts: Path) -> None:
        assert completed(scripts, "numclip fit --test") == {"--test_after_fit"}
        assert completed(scripts, "numclip fit --trainer.max_e") == {"--trainer.max_epochs"}
        assert completed(scripts, "numclip export --f") == {"--format"}
        assert completed(scripts, "numclip export --trainer") == set()

    def test_keys_of_methods_and_data_and_of_the_settings_in_them(self, scripts: Path) -> None:
        assert completed(scripts, "numclip fit --model.tol") == {"--model.tolerance"}
        assert completed(scripts, "numclip fit --model.learning_rates.he") == {"--model.learning_rates.head"}
        assert completed(scripts, "numclip predict --data.predict_p") == {"--data.predict_path"}

    @pytest.mark.parametrize("between", [" ", " = "], ids=["two words", "an equals sign"])
    def test_values_where_there_are_few(self, scripts: Path, between: str) -> None:
        assert completed(scripts, f"numclip fit --model{between}NumC") == {"NumCLIP", "NumCLIPPlus"}
        assert completed(scripts, f"numclip fit --data.select_on{between}t") == {"test"}

    def test_values_after_an_equals_sign_alone(self, scripts: Path) -> None:
        assert completed(scripts, "numclip fit --data.select_on =") == {"val", "test"}

    def test_flags_after_a_flag_with_its_value(self, scripts: Path) -> None:
        assert completed(scripts, "numclip fit --model = NumCLIP --test") == {"--test_after_fit"}
        assert completed(scripts, "numclip fit --config a.yaml --test") == {"--test_after_fit"}

    def test_files(self, scripts: Path, tmp_path: Path) -> None:
        for name in ("scans.yaml", "scans.csv", "other.yaml"):
            (tmp_path / name).touch()
        assert completed(scripts, "numclip fit --config = sc", tmp_path) == {"scans.yaml", "scans.csv"}
        assert completed(scripts, "numclip start sc", tmp_path) == {"scans.yaml", "scans.csv"}


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not here")
def test_fish(scripts: Path) -> None:
    for line, expected in (("fi", "fit"), ("fit --test_a", "--test_after_fit"), ("fit --data.select_on=v", "val")):
        code = f"source {scripts / 'fish'}; complete -C 'numclip {line}'"
        assert expected in run(str(shutil.which("fish")), "--no-config", "-c", code, folder=scripts), line


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not here")
def test_zsh_reads_its_script(scripts: Path) -> None:
    assert run(str(shutil.which("zsh")), "-f", "-n", str(scripts / "zsh"), folder=scripts) == ""
    text = (scripts / "zsh").read_text(encoding="utf-8")
    assert '"--data.select_on=[data.select_on]:data.select_on:(val test)"' in text


@pytest.mark.parametrize("words", [["--completion"], ["--completion=tcsh"], ["--completion", "bash", "fit"]])
def test_another_shell_is_refused_with_those_that_there_are(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert "numclip --completion bash|zsh|fish" in capsys.readouterr().err


@pytest.mark.parametrize("name", VERBS)
def test_the_parser_of_a_verb_is_seen_before_it_does_anything(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verb that parses by argparse itself would start to work; jsonargparse lets us look."""

    def refuse(self: argparse.ArgumentParser, *_: object, **__: object) -> None:
        pytest.fail(f"numclip {name} parses by argparse; use jsonargparse.ArgumentParser")

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", refuse)
    assert parser_of(load(name)).format_help()

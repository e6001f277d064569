"""`numclip`: its table of verbs, and what it answers before it imports a verb."""

import subprocess
import sys

import pytest

import numclip_lightning
from numclip_lightning.cli import VERBS, main
from numclip_lightning.runs.parser import ABOUT
from numclip_lightning.scale import OrdinalScale

# Libraries that take seconds to import.
HEAVY = {"torch", "lightning", "pandas", "jsonargparse", "open_clip"}


def imported_by(code: str) -> set[str]:
    """Return the heavy libraries that Python has imported after some code, in a process of its own."""
    script = f"import sys; {code}; print('modules:', *{{name.partition('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    return set(result.stdout.rpartition("modules:")[2].split()) & HEAVY


class TestHelp:
    @pytest.mark.parametrize("flag", ["--help", "-h"])
    def test_it_lists_every_verb_and_how_to_get_more(self, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([flag]) == 0
        lines = capsys.readouterr().out.splitlines()
        for name, verb in VERBS.items():
            assert any(line.split() == [name, *verb.help.split()] for line in lines), name
        assert any("numclip fit --help" in line for line in lines)
        assert any("numclip fit --model.help NumCLIP" in line for line in lines)

    def test_the_version_is_that_of_the_package(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"numclip {numclip_lightning.__version__}\n"

    def test_no_verb_is_a_mistake_answered_with_the_help(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([]) == 2
        assert "verbs:" in capsys.readouterr().err

    @pytest.mark.parametrize("words", [["--help"], ["--version"], [], ["fti"]], ids=["help", "version", "none", "typo"])
    def test_it_is_answered_without_heavy_libraries(self, words: list[str]) -> None:
        assert imported_by(f"from numclip_lightning.cli import main; main({words})") == set()


class TestVerb:
    def test_an_unknown_one_is_refused_with_a_near_match(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["benhcmark"]) == 2
        assert "'benhcmark' is not a verb of numclip; did you mean 'benchmark'?" in capsys.readouterr().err

    def test_a_flag_before_it_is_refused_with_all_verbs(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--config=x.yaml", "fit"]) == 2
        error = capsys.readouterr().err
        assert "'--config=x.yaml' is not a verb of numclip; choose one of start, fit, validate, test, predict" in error
        assert "flags follow the verb" in error

    def test_lightnings_verbs_say_of_themselves_what_the_table_says(self) -> None:
        assert {name: VERBS[name].help for name in ABOUT} == ABOUT

    @pytest.mark.parametrize("name", VERBS)
    def test_each_has_a_help_of_its_own(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code == 0
        assert f"usage: numclip {name}" in capsys.readouterr().out


class TestPackage:
    def test_importing_it_imports_no_heavy_library(self) -> None:
        assert imported_by("import numclip_lightning") == set()

    def test_the_scale_is_imported_when_it_is_asked_for(self) -> None:
        assert numclip_lightning.OrdinalScale is OrdinalScale
        assert "OrdinalScale" in dir(numclip_lightning)

    def test_an_unknown_name_is_an_attribute_error(self) -> None:
        with pytest.raises(AttributeError, match="has no attribute 'OrdinalScael'"):
            numclip_lightning.OrdinalScael  # noqa: B018


def test_the_shell_gets_the_exit_code_and_the_message() -> None:
    command = [sys.executable, "-m", "numclip_lightning", "fti"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 2
    assert result.stderr.startswith("numclip: error: 'fti' is not a verb of numclip; did you mean 'fit'?")

"""Configuration files in other encodings: read if they say which, else named."""

from pathlib import Path

import pytest

from numclip_lightning.cli import main
from numclip_lightning.errors import ConfigError
from numclip_lightning.runs.config_files import with_readable_configs

TEXT = "model:\n  tolerance: 3  # années\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("joined", [True, False])
def test_a_file_with_the_mark_of_its_encoding_is_read(encoding: str, joined: bool, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(TEXT, encoding=encoding)
    words = [f"--config={file}"] if joined else ["--config", str(file)]
    found = with_readable_configs([*words, "--trainer.max_epochs=1"])
    assert found == [*([f"--config={TEXT}"] if joined else ["--config", TEXT]), "--trainer.max_epochs=1"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_in_utf8_is_left_to_the_parser(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(TEXT, encoding=encoding)
    assert with_readable_configs(["--config", str(file)]) == ["--config", str(file)]


@pytest.mark.parametrize("text", ["{model: NumCLIP}", "model: NumCLIP"])
def test_yaml_itself_is_left_to_the_parser(text: str) -> None:
    assert with_readable_configs(["--config", text]) == ["--config", text]


def test_another_encoding_is_refused_by_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(TEXT, encoding="cp1252")
    with pytest.raises(ConfigError, match=r"mine.yaml: line 2 is not UTF-8; .* save it as UTF-8"):
        with_readable_configs(["--config", str(file)])


def test_a_missing_file_and_a_folder_are_refused_before_anything_is_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--config", str(tmp_path / "nowhere.yaml")]) == 2
    assert "nowhere.yaml: no such file" in capsys.readouterr().err
    assert main(["fit", f"--config={tmp_path}"]) == 2
    assert "is a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "model:\n\ttolerance: 3\n",
            "line 2: this is no YAML: found character '.*'.*; indent with blanks, not with tabs",
        ),
        ("model: {tolerance: 3\n", "line 2: this is no YAML"),
        ("", "is empty; give a file with sections such as model: and data:"),
        ("path,target\na.png,3\n", "is no configuration; give a file with sections"),
        ("- model\n", "is no configuration; give a file with sections"),
        (
            "model:\n  tolerance: 1\n  scale: {unit: a}\n  tolerance: 2\n",
            "line 4: 'tolerance' is there twice, first in line 2",
        ),
        ("model: &m\n  levels:\n    - {phrase: a, phrase: b}\ndata: *m\n", "line 3: 'phrase' is there twice"),
    ],
)
def test_what_is_no_configuration_is_refused_by_line(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"mine\.yaml:? {message}"):
        with_readable_configs(["--config", str(file)])


def test_anchors_and_merged_keys_are_no_doubles(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("a: &a {x: 1}\nb: {<<: *a, x: 2}\nc: {<<: *a}\n", encoding="utf-8")
    assert with_readable_configs(["--config", str(file)]) == ["--config", str(file)]

"""YAML and JSON of strangers: plain values, or an error in words and in a moment."""

import time
from pathlib import Path

import pytest
import yaml

from numclip_lightning.data.base.labels import read_labels
from numclip_lightning.deploy.facts import facts_of_run
from numclip_lightning.errors import DataError, NumClipError
from numclip_lightning.plain import TOO_DEEP, parse_json, parse_yaml
from numclip_lightning.report.answers import read_scale
from numclip_lightning.report.reading import read_run

DEEP = "[" * 100_000
# Each line has the one before it nine times: a billion values.
BILLION = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 10))


@pytest.mark.parametrize(
    ("text", "message"),
    [("[" * 500, TOO_DEEP), (BILLION, "aliases"), (MERGED, "aliases"), ("a: &a [*a]", "aliases"), ("a: [", "expected")],
)
def test_yaml_without_end_is_refused_in_a_moment(text: str, message: str) -> None:
    start = time.process_time()
    with pytest.raises(ValueError, match=message):
        parse_yaml(text)
    assert time.process_time() - start < 1


def test_yaml_is_that_of_pyyaml() -> None:
    text = "model: &m {scale: {minimum: 1.5e1}, names: [a, 'null', null]}\nother: {<<: *m, names: []}\nday: 2024-05-01"
    assert parse_yaml(text) == yaml.safe_load(text)
    assert parse_yaml("") is None
    with pytest.raises(ValueError, match="could not determine a constructor"):
        parse_yaml("!!python/object/apply:os.getcwd []")


def test_json_without_end_is_refused() -> None:
    assert parse_json('{"a": [1, null]}') == {"a": [1, None]}
    with pytest.raises(ValueError, match=TOO_DEEP):
        parse_json(DEEP)


@pytest.mark.parametrize("name", ["list.json", "list.jsonl"])
def test_a_list_without_end_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(DEEP, encoding="utf-8")
    with pytest.raises(DataError, match=rf"{name}:?.*{TOO_DEEP}"):
        read_labels(tmp_path / name)


@pytest.mark.parametrize("text", [BILLION, "a: [", "just words"])
def test_the_configuration_of_a_strangers_run_is_refused_in_words(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "test_predictions.csv").write_text("path,target,value\na.png,1,2\n", encoding="utf-8")
    with pytest.raises(NumClipError, match=r"config\.yaml"):
        read_scale(tmp_path)
    with pytest.raises(NumClipError, match=r"config\.yaml"):
        facts_of_run(tmp_path)
    if text != "just words":
        with pytest.raises(NumClipError, match=r"config\.yaml"):
            read_run(tmp_path)

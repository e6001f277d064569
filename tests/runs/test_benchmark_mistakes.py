"""Keys of a benchmark's file that mean nothing are named, with what its writer may have meant."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from numclip_lightning.errors import ConfigError
from numclip_lightning.runs.benchmark_mistakes import refuse_benchmark_mistakes
from support.places import REPOSITORY

GOOD: dict[str, Any] = {
    "title": "try",
    "datasets": {"counting": {"config": "configs/counting.yaml"}},
    "methods": {"NumCLIP": {}},
}


def mistakes(file: Path, content: dict[str, Any], *words: str) -> str:
    file.write_text(yaml.safe_dump({**GOOD, **content}, sort_keys=False), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        refuse_benchmark_mistakes([f"--config={file}", *words])
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"config": "mine/knees.yaml"}, ("no 'config' of its own", "datasets: {knees: {config: mine/knees.yaml}}")),
        ({"config": ["a.yaml", "b.yaml"]}, ("no 'config' of its own", "{config: FILE}")),
        # The parser passed over it without a word.
        ({"metods": {"A": {}}}, ("a benchmark has no 'metods'; did you mean 'methods'?",)),
        ({"xyzzy": 1}, ("a benchmark has no 'xyzzy'; there are title, datasets, methods",)),
        ({"trainer": {"max_epochs": 1}}, ("the configuration of one run, and no benchmark; give it to numclip fit",)),
        ({"datasets": {"c": "mine.yaml"}}, ("datasets: 'c' is 'mine.yaml'; give c: {config: mine.yaml}",)),
        ({"datasets": {"c": {"confg": "x"}}}, ("datasets: 'c' has 'confg', which no entry has; did you mean 'conf",)),
        (
            {"datasets": {"c": {"config": "x", "data.root": "y"}}},
            ("datasets: 'c' has 'data.root'", "below args: {args: {data.root: ...}}"),
        ),
        (
            {"datasets": {"c": {"config": "x", "tests": {"T": {"argz": {}}}}}},
            ("tests of 'c': 'T' has 'argz', which no entry has; did you mean 'args'?",),
        ),
        ({"methods": ["configs/methods/coop.yaml"]}, ("methods is a list; give a name to each: methods: {NAME:",)),
        ({"methods": None}, ("methods is empty; give a name to each:",)),
        ({"methods": {"A": None}}, ("methods: 'A' is empty; give A: {} for the method of the dataset",)),
        ({"methods": {"A": "coop.yaml"}}, ("methods: 'A' is 'coop.yaml'; give A: {config: coop.yaml}",)),
        ({"ensembles": {"E": ["A", "B"]}}, ("ensembles: 'E' is a list; give E: {of: [METHOD, METHOD]}",)),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_what_may_be_meant(
    content: dict[str, Any], expected: tuple[str, ...], tmp_path: Path
) -> None:
    message = mistakes(tmp_path / "bench.yaml", content)
    assert all(part in message for part in expected), message
    assert message.endswith(f"(--config {tmp_path / 'bench.yaml'})")


def test_all_are_named_at_once_and_flags_too(tmp_path: Path) -> None:
    message = mistakes(tmp_path / "b.yaml", {"shot": [4], "methods": {"A": None}}, "--root=x", "--sheeds", "[0]")
    first, *lines = message.splitlines()
    assert first == "the benchmark has 3 mistakes:"
    assert [line.partition(" (")[0] for line in lines] == [
        "- a benchmark has no 'shot'; did you mean 'shots'?",
        "- methods: 'A' is empty; give A: {} for the method of the dataset's configuration, or A: {config: FILE}",
        "- a benchmark has no 'sheeds'; did you mean 'seeds'?",
    ]


@pytest.mark.parametrize(
    "words",
    [
        *([f"--config={file}"] for file in sorted((REPOSITORY / "configs" / "benchmarks").glob("*.yaml"))),
        ["--report_only", "true", "--args.trainer.max_epochs=1", "--methods.CLIP v1.2.config=x.yaml", "--help"],
        ['--datasets={"c": {"config": "x", "args": {"data.side": 9}, "tests": {"T": {"args": {"data.root": 1}}}}}'],
    ],
)  # fmt: skip
def test_what_has_a_meaning_is_let_through(words: list[str]) -> None:
    refuse_benchmark_mistakes(words)

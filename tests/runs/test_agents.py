"""What an agent writes as the value of a flag arrives as it was meant."""

from typing import Any

import pytest
from jsonargparse import ArgumentParser

from numclip_lightning.runs.agents import with_plain_values
from numclip_lightning.runs.command import NumClipCLI
from support.places import REPOSITORY


@pytest.mark.parametrize(
    "drawn",
    [
        None,
        1e-05,
        True,
        [1e-05, None, True],
        {"weight_decay": 1e-05, "foreach": None, "nested": {"fused": False}},
        ["it's", 'a "word"', "None", "null", "yes", "1e-05", "a\nb"],
    ],
)
def test_the_parser_of_the_command_reads_python(drawn: Any) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--key", type=Any)
    for words in ([f"--key={drawn}"], ["--key", f"{drawn}"]):
        found = parser.parse_args(with_plain_values(words)).key
        assert found == drawn
        assert type(found) is type(drawn)


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "--config", "None.yaml"],
        ["--model.scale.levels=[{phrase: few, start: 10}]", "--data.attributes=[sex]"],
        ["--key={5: a}", "--key=[a", "--key={1, 2}", "--key=", "--key=Nonesuch"],
        ["--model.scale.template=the age is {}."],
    ],
)
def test_what_is_no_value_of_python_stays(words: list[str]) -> None:
    assert with_plain_values(words) == words


@pytest.mark.parametrize(
    "word",
    [
        "--model.optimizer.args={'weight_decay': 1e-05, 'foreach': None}",
        '--model.optimizer.args={"weight_decay": 1e-05, "foreach": null}',
        "--model.optimizer={args: {weight_decay: 1.0e-05, foreach: null}}",
    ],
)
def test_nothing_within_a_class_stays_nothing(word: str) -> None:
    cli = NumClipCLI(["fit", "--config", str(REPOSITORY / "configs/counting.yaml"), word], until="parsed")
    assert cli.config["fit"].model.init_args.optimizer.args == {"weight_decay": 1e-05, "foreach": None}

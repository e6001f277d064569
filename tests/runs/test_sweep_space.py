"""The space of a sweep: the file of W&B, read as W&B reads it; what is not known is refused by name and line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from numclip_lightning.errors import ConfigError
from numclip_lightning.runs.sweep.halving import Halving
from numclip_lightning.runs.sweep.space import Space, read_space
from support.places import CONFIGS

Read = Callable[..., Space]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a space from text: its parameters, and lines above them."""

    def read_text(parameters: str, head: str = "method: bayes") -> Space:
        file = tmp_path / "space.yaml"
        lines = "\n".join(f"  {line}" for line in parameters.splitlines())
        file.write_text(f"{head}\nparameters:\n{lines}\n", encoding="utf-8")
        return read_space(file)

    return read_text


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("sweeps/*.yaml")), ids=lambda file: file.stem)
def test_the_files_of_the_repository_are_read(file: Path) -> None:
    space = read_space(file)
    assert (space.method, space.metric, space.goal) == ("bayes", "val_mae", "minimize")
    assert isinstance(space.distributions["model.learning_rates.image_encoder"], FloatDistribution)
    assert space.command[:3] == ("${env}", "numclip", "fit")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{values: [2, a, null, true]}", CategoricalDistribution([2, "a", None, True])),
        ("{values: [[1, 2], {a: 1}]}", CategoricalDistribution(["[1, 2]", '{"a": 1}'])),
        ("{distribution: categorical, values: [x, y]}", CategoricalDistribution(["x", "y"])),
        # W&B's guesses.
        ("{min: 1, max: 5}", IntDistribution(1, 5)),
        ("{min: 1, max: 5.5}", FloatDistribution(1, 5.5)),
        ("{distribution: int_uniform, min: 2, max: 9}", IntDistribution(2, 9)),
        ("{distribution: uniform, min: 0, max: 1}", FloatDistribution(0, 1)),
        # YAML reads 1e-5 as a text.
        ("{distribution: log_uniform_values, min: 1e-5, max: 0.1}", FloatDistribution(1e-5, 0.1, log=True)),
        ("{distribution: log_uniform, min: -2, max: 0}", FloatDistribution(0.1353352832366127, 1.0, log=True)),
        # Multiples of the step, whole ones where all is whole.
        ("{distribution: q_uniform, min: 10, max: 70, q: 16}", IntDistribution(16, 64, step=16)),
        ("{distribution: q_uniform, min: 0.1, max: 0.35, q: 0.1}", FloatDistribution(0.1, 0.3, step=0.1)),
        ("{distribution: q_uniform, min: 1, max: 4}", IntDistribution(1, 4, step=1)),
    ],
)
def test_a_distribution_is_read_as_wandb_reads_it(entry: str, expected: Any, read: Read) -> None:
    assert read(f"a.b: {entry}").distributions == {"a.b": expected}


def test_nested_parameters_have_dots_and_constants_are_kept(read: Read) -> None:
    space = read(
        "model:\n  parameters:\n    head: {values: [a, b]}\n    rate: {parameters: {x: {value: 1.5}}}\nc: {values: [z]}"
    )
    assert set(space.distributions) == {"model.head"}
    assert space.constants == {"model.rate.x": 1.5, "c": "z"}


def test_a_grid_has_every_combination_once(read: Read) -> None:
    space = read("a: {values: [x, y]}\nb: {min: 1, max: 3}\nc: {min: 0.1, max: 0.3, q: 0.1}", head="method: grid")
    found = [(values["a"], values["b"], round(values["c"], 9)) for values in space.grid]
    assert found == [(a, b, c) for a in "xy" for b in (1, 2, 3) for c in (0.1, 0.2, 0.3)]
    assert all(space.distributions["c"]._contains(values["c"]) for values in space.grid)
    assert read("a: {values: [x, y]}").grid == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{type: hyperband, min_iter: 3}", Halving(3, 3)),
        ("{type: hyperband, min_iter: 2, eta: 2}", Halving(2, 2)),
        # W&B's own example: brackets at 27 / 9 and 27 / 3.
        ("{type: hyperband, max_iter: 27, s: 2}", Halving(3, 3, 9)),
    ],
)
def test_hyperband_is_halving_at_the_same_validations(given: str, expected: Halving, read: Read) -> None:
    assert read("a: {values: [1, 2]}", f"method: random\nearly_terminate: {given}").halving == expected


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("a: {vlaues: [1]}", "line 3: parameters: a: vlaues: not known; did you mean 'values'?"),
        ("a: {values: []}", "line 3: parameters: a: values: give a list of at least one value"),
        ("a: {values: [1, 1.0]}", "1.0 is there twice, in this spelling or another"),
        ("a: {values: [2020-01-01]}", "YAML reads 2020-01-01 as a date; put it in quotes"),
        ("a: {values: [.nan, 1]}", "nan is no finite number"),
        ("a: 3", "this is 3; give {value: ...}, {values: [...]}"),
        ("a: {distribution: normal, mu: 0, sigma: 1}", "line 3: parameters: a: mu: W&B's distributions with this key"),
        ("a: {distribution: beta, min: 0, max: 1}", "W&B's beta is not known here; give constant, categorical"),
        ("a: {distribution: unifrom, min: 0, max: 1}", "unifrom: not known; did you mean 'uniform'?"),
        ("a: {values: [1, 2], probabilities: [0.1, 0.9]}", "probabilities: W&B's distributions with this key"),
        ("a: {min: 1}", "there is nothing to choose from; give value, values, or min and max"),
        ("a: {min: 2, max: 1}", "min is 2 and max is 1; min has to be below max"),
        ("a: {min: x, max: 1}", 'a: min: "x" is no number'),
        ("a: {min: true, max: 3}", "a: min: true is no number"),
        ("a: {distribution: int_uniform, min: 1, max: 2.5}", "int_uniform needs whole numbers"),
        ("a: {distribution: log_uniform_values, min: 0, max: 1}", "0 has no logarithm"),
        ("a: {distribution: log_uniform, min: 0, max: 5000}", "are exponents of e"),
        ("a: {distribution: q_uniform, min: 1, max: 2, q: 5}", "between 1 and 2 there are no two multiples of 5"),
        ("a: {distribution: q_uniform, min: 1, max: 2, q: 0}", "0 is no step"),
        ("a: {values: [1, 2], min: 1}", "a: min: categorical has no min"),
        ("a: {value: 1}", "has one value for each parameter, and nothing to choose"),
        ("b: {values: [1, 2]}\nseed_everything: {values: [1, 2]}", "line 4: parameters: seed_everything: a search"),
        ("data.init_args.seed: {values: [1, 2]}", "a search over seeds only finds lucky ones"),
        ("data: {parameters: {select_on: {values: [val, test]}}}", "the same in all trials: what trials are"),
        ("test_after_fit: {values: [true, false]}", "no trial looks at test images"),
        ("trainer.devices: {values: [1, 2]}", "--workers says how many run at once"),
        ("m.init_args.a: {values: [1, 2]}\nm.a: {values: [1, 2]}", "this parameter is there twice, first in line 3"),
        ("a: {values: [1, 2]}\na: {values: [3, 4]}", "line 4: 'a' is there twice, first in line 3"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_refused_with_its_line(parameters: str, message: str, read: Read) -> None:
    with pytest.raises(ConfigError) as error:
        read(parameters)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("name: x", "has no method; give one of bayes, random, grid"),
        ("method: byes", "line 1: method: byes: not known; did you mean 'bayes'?"),
        ("method: grid", "a: a grid needs values, int_uniform or q_uniform"),
        ("method: bayes\nmetrics: {name: val_mae}", "line 2: metrics: not known; did you mean 'metric'?"),
        ("method: bayes\nmetric: {name: test_mae}", "line 2: metric: name: test_mae is of test images"),
        ("method: bayes\nmetric: {name: loss}", "'loss' is no metric on validation images"),
        ("method: bayes\nmetric: {name: val_mae, goal: maximize}", "val_mae is better if it is lower"),
        ("method: bayes\nmetric: {name: val_acc}", "val_acc is better if it is higher"),
        ("method: bayes\nmetric: {name: val_bias}", "val_bias is better if it is nearer to 0"),
        ("method: bayes\nmetric: {name: val_mae, target: 1}", "metric: target: not known"),
        ("method: bayes\nearly_terminate: {type: envelope}", "envelope: not known"),
        ("method: bayes\nearly_terminate: {type: hyperband}", "give min_iter, or max_iter and s, and not both"),
        ("method: bayes\nearly_terminate: {type: hyperband, min_iter: 1, eta: 1.5}", "1.5 is no whole number of 2"),
        ("method: bayes\nearly_terminate: {type: hyperband, min_iter: 1, strict: true}", "strict: this is not known"),
        ("method: bayes\nearly_terminate: {type: hyperband, max_iter: 2, s: 3}", "below 1; lower s"),
        ("method: bayes\nrun_cap: 0", "line 2: run_cap: 0 is no number of trials"),
    ],
)  # fmt: skip
def test_a_wrong_head_is_refused_with_its_line(head: str, message: str, read: Read) -> None:
    with pytest.raises(ConfigError) as error:
        read("a: {min: 0.5, max: 1}", head)
    assert message in str(error.value)


def test_a_file_that_is_no_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--space .*none\.yaml is no file in"):
        read_space(tmp_path / "none.yaml")
    file = tmp_path / "space.yaml"
    file.write_text("method: random\nparameters: [1]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="has no parameters; name at least one key"):
        read_space(file)

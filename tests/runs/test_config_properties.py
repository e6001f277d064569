"""Drawn configurations: what is valid goes through plain values and back; what is not is named, by no exception."""

from dataclasses import asdict
from typing import Any

import yaml
from hypothesis import strategies as st

from numclip_lightning import methods
from numclip_lightning.commands.start_scale import propose_scale
from numclip_lightning.methods.base import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.construction import from_plain, to_plain
from numclip_lightning.methods.base.imbalance import ImbalanceSpec
from numclip_lightning.methods.base.mistakes import mistakes_in
from numclip_lightning.methods.base.mixing import MixSpec
from numclip_lightning.runs.flatten import flatten
from numclip_lightning.runs.mistakes import mistakes_of
from numclip_lightning.runs.remarks import idle_arguments
from numclip_lightning.runs.word_mistakes import word_mistakes
from numclip_lightning.scale import OrdinalScale
from support.properties import holds_for

rates = st.floats(0, 1, allow_subnormal=False)
specs = st.one_of(
    st.builds(LearningRates, image_encoder=rates, head=rates, layer_decay=st.floats(0.1, 1), by_size=st.booleans()),
    st.builds(OptimizerSpec, st.sampled_from(["SGD", "AdamW"]), st.just({"weight_decay": 0.1})),
    st.builds(SchedulerSpec, st.just("OneCycleLR"), st.just({"pct_start": 0.2}), st.sampled_from(["step", "epoch"])),
    st.builds(ImbalanceSpec, weights=st.sampled_from(["none", "lds"]), clip=st.floats(1, 99), fds=st.booleans()),
    st.builds(MixSpec, prob=st.floats(0, 1), beta=st.floats(0.1, 9), width=st.none() | st.floats(0.1, 9)),
)
# Anything that YAML may bring where an argument is.
leaves = st.one_of(st.none(), st.booleans(), st.integers(-3, 10**7), st.floats(), st.text(max_size=6),
                   st.sampled_from(["log", "median", "levels", "numbers", "all"]))  # fmt: skip
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.sampled_from(["name", "args", "minimum", "maximum", "step", "levels", "phrase", "start", "head", "spacing"]),
    inner, max_size=4,
), max_leaves=6)  # fmt: skip
KINDS = ["NumCLIP", "NumCLIPPlus", "SORD", "CORAL", "L2RCLIP", "ZIP", "CLIPEBC", "RankAxis", "GDA"]
KEYS = ["scale", "learning_rates", "optimizer", "lr_scheduler", "imbalance", "mix", "decode", "classes", "names",
        "tune", "metrics", "tolerance", "leash", "loss_weights", "temperature", "bins", "axis", "raters"]  # fmt: skip


@holds_for(specs, few=30)
def test_what_is_valid_goes_through_yaml_and_back(spec: Any) -> None:
    text = yaml.safe_dump(to_plain(spec))
    assert from_plain(type(spec), yaml.safe_load(text)) == spec


@holds_for(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(KEYS), trees, max_size=4), few=15)
def test_what_is_not_is_named_and_ends_in_no_other_exception(kind: str, arguments: dict[str, Any]) -> None:
    given = {"model": {"class_path": kind, "init_args": arguments}, "data": None}
    for mistake in mistakes_of(given, "fit"):
        assert str(mistake).strip()
    words = [f"--model={kind}", *(f"--model.{key}={yaml.safe_dump(value, default_flow_style=True).strip()}"
                                  for key, value in arguments.items())]  # fmt: skip
    assert all(line.startswith("model.") for line in word_mistakes(words))
    assert all("changes nothing" in line or "keeps" in line for line in idle_arguments(given))


@holds_for(st.sampled_from(KINDS), st.sampled_from([0, -1, 3]), st.sampled_from([-1.0, 0.5]), few=6, many=60)
def test_each_of_several_mistakes_is_named_once(kind: str, maximum: int, rate: float) -> None:
    scale = {"minimum": 1, "maximum": maximum}
    found = [str(error) for error in mistakes_in(getattr(methods, kind), {"scale": scale, "leash": -rate})]
    assert sum("scale.minimum" in line for line in found) == (maximum < 1)
    assert sum(line.startswith("leash is -0.5; give 0") for line in found) == (rate > 0)


@holds_for(
    st.one_of(
        st.lists(st.integers(-1000, 100_000).map(float), min_size=1, max_size=30),
        st.lists(st.floats(-1e6, 1e6, allow_subnormal=False, width=32), min_size=1, max_size=30),
    ),
    st.sampled_from(["age", "price", "score", "count", "year", "thing"]),
    few=40,
)
def test_a_proposed_scale_holds_all_numbers(targets: list[float], name: str) -> None:
    proposed = propose_scale(targets, name)
    scale = OrdinalScale(**proposed.arguments)
    assert all(0 <= int(scale.to_rank(target)) < scale.num_ranks for target in targets)
    assert all(reason.strip() for reason in proposed.reasons)


@holds_for(st.dictionaries(st.sampled_from("abc"), st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("def"), inner, min_size=1, max_size=3), max_leaves=5,
), max_size=3), few=20)  # fmt: skip
def test_flat_names_lead_back_to_the_tree(tree: dict[str, Any]) -> None:
    rebuilt: dict[str, Any] = {}
    for name, value in flatten(tree).items():
        *above, last = name.split(".")
        place = rebuilt
        for key in above:
            place = place.setdefault(key, {})
        place[last] = value
    assert rebuilt == tree


def test_spacing_is_kept_in_plain_values() -> None:
    scale = OrdinalScale(1, 100, step=1.5, spacing="log")
    assert from_plain(OrdinalScale, to_plain(scale)) == scale
    assert asdict(scale)["spacing"] == "log"

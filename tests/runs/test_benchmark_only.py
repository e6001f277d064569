"""A part of a benchmark: `only_datasets` and `only_methods`."""

import re
from dataclasses import replace
from typing import Any

import pytest

from numclip_lightning.commands.benchmark_words import parse
from numclip_lightning.errors import ConfigError
from numclip_lightning.runs.benchmark import Benchmark
from numclip_lightning.runs.entries import DatasetEntry, EnsembleEntry, MeanEntry, MethodEntry
from numclip_lightning.runs.plan import plan

WHOLE = Benchmark(
    title="Try",
    datasets={name: DatasetEntry(config="configs/counting.yaml", args={"data.num_train": size})
              for name, size in (("few", 8), ("some", 16), ("many", 32))},
    methods={"Zero": MethodEntry(config="configs/methods/zero_shot.yaml", trains=False), "NumCLIP": MethodEntry(),
             "GDA": MethodEntry(config="configs/methods/gda.yaml")},
    ensembles={"both": EnsembleEntry(of=["NumCLIP", "GDA"])},
    means={"all": MeanEntry(of=["few", "some", "many"]), "two": MeanEntry(of=["few", "some"])},
    seeds=[0, 1],
    compare_to="NumCLIP",
)  # fmt: skip


def test_a_part_has_the_runs_of_the_whole_and_no_others() -> None:
    part = replace(WHOLE, only_datasets=["some", "few"], only_methods=["GDA", "NumCLIP"])
    expected = [run for run in plan(WHOLE) if run.entry["dataset"] != "many" and run.entry["method"] != "Zero"]
    assert [run.folder for run in plan(part)] == [run.folder for run in expected]
    assert len(expected) == 2 * 2 * 2
    assert (list(part.means), list(part.ensembles)) == (["two"], ["both"])
    assert list(replace(WHOLE, only_methods=["NumCLIP", "Zero"]).ensembles) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"only_datasets": ["fwe"]}, "only_datasets is 'fwe'"),
        ({"only_methods": ["numclip"]}, "only_methods is 'numclip'"),
        ({"only_methods": []}, "only_methods is empty; name at least one, or leave it out."),
        ({"only_methods": ["GDA"]}, "compare_to is 'NumCLIP', which only_methods leaves out"),
        ({"only_methods": ["NumCLIP"], "compare_to": "both"}, "compare_to is 'both', which only_methods leaves out"),
        ({"only_datasets": ["few"], "args": {"data.seed": 3}}, "data.seed is set for each run"),
    ],
)
def test_what_can_not_be_a_part_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        replace(WHOLE, **changes)


def test_a_part_is_asked_for_in_the_command() -> None:
    words = [
        "--config",
        "configs/benchmarks/smoke.yaml",
        "--only_methods=[NumCLIP, Linear probe]",
        "--only_datasets=[counting]",
    ]
    chosen, *_ = parse(words)
    assert (list(chosen.methods), list(chosen.datasets)) == (["NumCLIP", "Linear probe"], ["counting"])

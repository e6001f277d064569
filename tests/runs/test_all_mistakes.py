"""All mistakes of a configuration in one message, before anything heavy starts; and what is asked for in vain."""

from pathlib import Path
from typing import Any

import pytest
import torch

from numclip_lightning import data, methods
from numclip_lightning.cli import main
from numclip_lightning.errors import ConfigError, collecting, refuse
from numclip_lightning.methods import L2RCLIP, SORD, NumCLIP
from numclip_lightning.methods.base.mistakes import mistakes_in
from numclip_lightning.methods.base.optimisers import SchedulerSpec, build_scheduler
from numclip_lightning.runs.mistakes import mistakes_of, refuse_mistakes
from numclip_lightning.runs.remarks import contradictions, idle_arguments, idle_rates
from numclip_lightning.runs.word_mistakes import word_mistakes
from support.command import Numclip, failure
from support.places import REPOSITORY
from support.tiny_benchmark import write_config

SCALE = {"minimum": 0, "maximum": 9}
METHODS = [
    kind
    for kind in (getattr(methods, name) for name in methods.__all__)
    if isinstance(kind, type) and issubclass(kind, methods.OrdinalMethod) and kind is not methods.OrdinalMethod
]
# In every run; the others are slow.
SHOWN = {"counting", "aesthetics", "yearguessr"}


class TestCollecting:
    def test_alone_it_raises(self) -> None:
        with pytest.raises(ConfigError, match="one"):
            refuse("one")

    def test_within_a_block_all_are_kept_and_the_last_may_be_raised(self) -> None:
        found: list[Any] = []
        with collecting(found):
            refuse("one")
            refuse("two")
            raise ConfigError("three")
        assert [str(error) for error in found] == ["one", "two", "three"]  # type: ignore[unreachable]

    def test_what_stumbles_over_a_mistake_is_dropped_and_else_is_not(self) -> None:
        found: list[Any] = []
        with collecting(found):
            refuse("one")
            raise ZeroDivisionError
        assert len(found) == 1  # type: ignore[unreachable]
        with pytest.raises(ZeroDivisionError), collecting([]):
            raise ZeroDivisionError


class TestNames:
    def test_every_section_of_a_run_is_looked_through(self) -> None:
        sections = {
            "averaging",
            "calibration",
            "checkpoint",
            "compute",
            "early_stopping",
            "features",
            "length",
            "trainer",
        }
        words = [f"--{section}.no_such_name=1" for section in sorted(sections)]
        assert [line.partition(".")[0] for line in word_mistakes(words)] == sorted(sections)

    def test_impossible_values_of_callbacks_are_named_together(self) -> None:
        given = {"compute": {"images_at_once": 0}, "averaging": {"decay": 2.0}}
        found = [str(mistake) for mistake in mistakes_of(given, "fit")]
        assert [text.split()[0].partition("=")[0] for text in found] == ["compute.images_at_once", "averaging.decay"]

    def test_every_name_and_type_is_answered_with_the_near_name(self, tmp_path: Path) -> None:
        file = tmp_path / "run.yaml"
        file.write_text(
            "model:\n  class_path: NumCLIP\n  init_args:\n    weigthing: none\n    scale: {minimum: low, maximun: 9}\n"
            "    learning_rates: {haed: 0.1}\n    optimizer: {name: SGD, args: {momentum: 0.5}}\n"
            "trainer: {max_epoch: 3, max_steps: many, log_every_n_steps: 5}\nearly_stopping: {pateince: 3}\n",
            encoding="utf-8",
        )
        found = word_mistakes([f"--config={file}", "--model.decode=mean", "--model.tolerance", "much",
                               "--data=ListDataModule", "--data.batchsize=3", "--data.augment=true"])  # fmt: skip
        expected = [
            ("model.weigthing", "did you mean 'weighting'?"), ("model.scale.minimum", "Got value: low"),
            ("model.scale.maximun", "did you mean 'maximum'?"), ("model.learning_rates.haed", "did you mean 'head'?"),
            ("trainer.max_epoch:", "did you mean 'max_epochs'?"), ("trainer.max_steps", "Got value: many"),
            ("early_stopping.pateince", "did you mean 'patience'?"), ("model.decode", "Got value: mean"),
            ("model.tolerance", "expected float or null. Got value: much"),
            ("data.batchsize", "did you mean 'batch_size'?"),
        ]  # fmt: skip
        assert len(found) == len(expected), found
        for line, (start, hint) in zip(found, expected, strict=True):
            assert line.startswith(start)
            assert hint in line
        assert all(str(file) in line for line in found[:7])

    def test_classes_have_near_names_too(self) -> None:
        assert "did you mean 'NumCLIP'" in word_mistakes(["--model=NumClip"])[0]

    @pytest.mark.parametrize(
        "file",
        [
            pytest.param(file, id=file.stem, marks=() if file.stem in SHOWN else pytest.mark.slow)
            for file in sorted((REPOSITORY / "configs").glob("*.yaml"))
        ],
    )
    def test_shipped_configurations_have_none(self, file: Path) -> None:
        assert word_mistakes(["--config", str(file)]) == []

    @pytest.mark.slow
    def test_overlays_have_none(self) -> None:
        for file in sorted((REPOSITORY / "configs").glob("*/*.yaml")):
            if file.parent.name not in ("benchmarks", "sweeps"):
                base = REPOSITORY / "configs" / "counting.yaml"
                assert word_mistakes([f"--config={base}", f"--config={file}"]) == [], file

    def test_the_parser_prints_all(self, numclip: Numclip, capsys: pytest.CaptureFixture[str]) -> None:
        words = ("--model.weigthing=none", "--data.batchsize=4", "--trainer.max_epoch=2", "--model.tolerance=much")
        assert failure("fit", *numclip.flags, *words) == 2
        error = capsys.readouterr().err
        assert "4 mistakes:" in error
        for near in ("weighting", "batch_size", "max_epochs"):
            assert f"did you mean '{near}'?" in error
        assert "Traceback" not in error


class TestValues:
    def test_all_of_a_method(self) -> None:
        found = [str(error) for error in mistakes_in(L2RCLIP, {
            "scale": SCALE, "optimizer": {"name": "Adem"}, "learning_rates": {"head": -1, "context": -2},
            "prompt_share": 3, "leash": -1, "imbalance": {"weights": "rare", "clip": 0}, "metrics": ["mea"],
        })]  # fmt: skip
        for part in ("'Adem'", "learning_rates.head", "learning_rates.context", "prompt_share=3", "leash",
                     "imbalance.weights", "imbalance.clip", "'mea'"):  # fmt: skip
            assert sum(part in line for line in found) == 1, (part, found)

    def test_a_broken_scale_hides_nothing_else(self) -> None:
        found = mistakes_in(NumCLIP, {"scale": {"minimum": 3, "maximum": 1}, "weighting": "all", "leash": -1})
        assert [str(error).split()[0] for error in found] == ["scale.minimum", "leash", "weighting"]

    @pytest.mark.parametrize("kind", METHODS)
    def test_defaults_have_none_or_are_refused_by_the_constructor_too(self, kind: Any) -> None:
        arguments = {"scale": SCALE, "backbone": "tiny-timm", "pretrained": None}
        found = mistakes_in(kind, arguments)
        if found:
            with pytest.raises(ConfigError) as raised:
                kind(**arguments)
            assert str(raised.value) == str(found[0])

    def test_sections_are_told_together_once(self) -> None:
        given = {
            "model": {"class_path": "SORD", "init_args": {"scale": SCALE, "temperature": -1}},
            "data": {"class_path": "ListDataModule", "init_args": {"root": ".", "batch_size": 0, "val_fraction": 2.0}},
            "averaging": {"decay": 2.0},
            "early_stopping": {"patience": 0},
        }
        with pytest.raises(ConfigError) as raised:
            refuse_mistakes(given, "fit")
        lines = str(raised.value).splitlines()
        assert lines[0] == "4 mistakes:" if len(lines) == 5 else "5 mistakes:"
        for part in ("batch_size=0", "val_fraction=2.0", "averaging.decay", "early_stopping.patience"):
            assert sum(part in line for line in lines) == 1

    def test_a_single_one_is_said_as_ever(self) -> None:
        given = {"model": {"class_path": "SORD", "init_args": {"scale": {"minimum": 3, "maximum": 1}}}}
        with pytest.raises(ConfigError, match=r"^scale\.minimum 3 is greater than scale\.maximum 1; swap them\.$"):
            refuse_mistakes(given, "test")

    def test_nothing_is_built_before_they_are_said(self, numclip: Numclip, capsys: pytest.CaptureFixture[str]) -> None:
        # The backbone is not there: its own message would come later.
        words = ["--model.backbone=local-dir:/nowhere", "--data.batch_size=0", "--model.learning_rates.head=-1"]
        assert failure("fit", *numclip.flags, *words) == 2
        error = capsys.readouterr().err
        assert "numclip: error: 2 mistakes:" in error
        assert "learning_rates.head is -1.0" in error
        assert "batch_size=0 must be at least 1" in error
        assert "nowhere" not in error


class TestContradictions:
    def test_what_waits_for_a_validation_needs_one(self) -> None:
        given = {"early_stopping": {"patience": 3}, "trainer": {"limit_val_batches": 0, "max_epochs": 5}}
        (found,) = contradictions(given)
        assert "leaves out the validation" in str(found)
        given["trainer"] = {"check_val_every_n_epoch": 9, "max_epochs": 5}
        (found,) = contradictions(given)
        assert "never validates" in str(found)
        assert contradictions({"early_stopping": {"patience": None}, "trainer": {"limit_val_batches": 0}}) == []
        assert mistakes_of({**given, "model": None}, "test") == []

    @pytest.mark.parametrize(
        ("given", "name"),
        [
            ({"averaging": {"start": 5}}, "averaging.start=5"),
            ({"early_stopping": {"min_delta": 0.1}}, "early_stopping.min_delta"),
            ({"model": {"init_args": {"imbalance": {"kernel_sigma": 3.0}}}}, "model.imbalance.kernel_sigma"),
            ({"data": {"init_args": {"value_step": 0.5}}}, "data.value_step=0.5"),
            ({"data": {"init_args": {"weight_column": "w"}}}, "data.weight_column=w changes nothing without"),
            (
                {"data": {"propensity_column": "p"}, "model": {"imbalance": {"weights": "list"}}},
                "data.propensity_column=p changes nothing without model.imbalance.weights=propensity",
            ),
            (
                {"features": {"folder": "kept"}, "model": {"init_args": {"learning_rates": {"image_encoder": 0.1}}}},
                "features.folder=kept keeps nothing",
            ),
            (
                {"features": {"folder": "kept"}, "data": {"init_args": {"augment": True}}},
                "features.folder=kept keeps the validation images alone",
            ),
        ],
    )
    def test_what_changes_nothing_is_said(self, given: dict[str, Any], name: str) -> None:
        (found,) = idle_arguments(given)
        assert found.startswith(name)

    def test_what_is_read_is_not_said(self) -> None:
        assert idle_arguments({
            "averaging": {"start": 5, "decay": 0.9}, "features": {"folder": "kept"},
            "model": {"init_args": {"imbalance": {"kernel_sigma": 3.0, "weights": "sqrt_lds"}}},
            "data": {"init_args": {"value_step": 0.5, "num_shots": 4, "augment": False}},
        }) == []  # fmt: skip
        given = {"data": {"weight_column": "w"}, "model": {"imbalance": {"weights": "list"}}}
        assert idle_arguments(given) == []

    def test_a_rate_for_a_part_that_is_not_there_is_said(
        self, numclip: Numclip, caplog: pytest.LogCaptureFixture
    ) -> None:
        numclip.try_out("fit", *numclip.flags, "--model.adapter_reduction=null", "--model.learning_rates.adapter=0.1",
                        "--model.learning_rates.head=0.1")  # fmt: skip
        said = [record.getMessage() for record in caplog.records if "changes nothing" in record.getMessage()]
        assert len(said) == 1
        assert said[0].startswith("--model.learning_rates.adapter=0.1 changes nothing: NumCLIP has no adapter")
        assert idle_rates({"adapter": 0.0}, {"head": 1}, "X") == []


class TestBenchmarks:
    def test_the_mistakes_of_all_methods_come_before_the_first_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(REPOSITORY)
        overlay = tmp_path / "mine.yaml"
        overlay.write_text("model: {class_path: CoOp, init_args: {num_contexts: 4}}", encoding="utf-8")
        methods_ = {
            "fine": {"config": "configs/methods/zero_shot.yaml", "trains": False},
            "mine": {"config": str(overlay), "trains": True},
            "rates": {"config": "configs/methods/sord.yaml", "args": {"model.learning_rates.head": -1}, "trains": True},
            "step": {"args": {"trainer.max_epoch": 1}, "trains": True},
        }
        assert main(["benchmark", "--config", str(write_config(tmp_path, methods_))]) == 2
        error = capsys.readouterr().err
        assert "nothing was run, because of 3 mistakes" in error
        assert (
            "- mine on counting: model.num_contexts: CoOp takes no 'num_contexts'; did you mean 'num_context'?" in error
        )
        assert "- rates on counting: learning_rates.head is -1" in error
        assert "- step on counting: trainer.max_epoch: there is no 'max_epoch'; did you mean 'max_epochs'?" in error
        assert not (tmp_path / "runs").exists()


def test_data_modules_are_found_by_name() -> None:
    assert "ListDataModule" in data.__all__
    assert SORD.__name__ in methods.__all__


class TestSchedules:
    @pytest.fixture
    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.1)

    def test_one_that_ends_before_the_training_is_refused(self, optimizer: torch.optim.Optimizer) -> None:
        with pytest.raises(ConfigError, match="end after 6 steps, and the training takes 7 steps"):
            build_scheduler(SchedulerSpec("OneCycleLR", {"total_steps": 6}, "step"), optimizer, 7)
        assert build_scheduler(SchedulerSpec("OneCycleLR", {"total_steps": 7}, "step"), optimizer, 7)

    def test_one_that_climbs_again_is_said(
        self, optimizer: torch.optim.Optimizer, caplog: pytest.LogCaptureFixture
    ) -> None:
        build_scheduler(SchedulerSpec("CosineAnnealingLR", {"T_max": 3}), optimizer, 7)
        assert "T_max=3, and the training takes 7 epochs, so that the rates climb again" in caplog.text
        caplog.clear()
        build_scheduler(SchedulerSpec("CosineAnnealingLR"), optimizer, 7)
        assert not caplog.records

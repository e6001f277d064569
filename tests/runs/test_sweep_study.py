"""The study of a sweep: what is tried, what is stopped early, and that a kill changes nothing."""

import math
import statistics
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from optuna.trial import TrialState

from numclip_lightning.errors import ConfigError
from numclip_lightning.runs.planned import PlannedTrial
from numclip_lightning.runs.sweep.configuration import Configuration
from numclip_lightning.runs.sweep.history import facts_of, write_best
from numclip_lightning.runs.sweep.space import read_space
from numclip_lightning.runs.sweep.study import Sweep
from numclip_lightning.runs.sweep.watching import TellStudy
from support.places import CONFIGS

RATE, CHOICE = "model.learning_rates.head", "model.weighting"
PARAMETERS: dict[str, Any] = {
    RATE: {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
    CHOICE: {"values": ["logits", "similarities", "none"]},
}
Begin = Callable[..., Sweep]


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    return Configuration([f"--config={CONFIGS / 'counting.yaml'}"])


@pytest.fixture
def begin(tmp_path: Path, configuration: Configuration) -> Begin:
    """Begin a sweep, or go on with it."""

    def new(name: str = "sweep", most: int | None = 8, seed: int = 0, **head: Any) -> Sweep:
        file, folder = tmp_path / "space.yaml", tmp_path / name
        file.write_text(yaml.safe_dump({"method": "bayes", "parameters": PARAMETERS, **head}), encoding="utf-8")
        folder.mkdir(exist_ok=True)
        return Sweep(folder, read_space(file), configuration, seed=seed, most=most)

    return new


def value_of(run: PlannedTrial) -> float:
    """Return an error that is least at a rate of 0.01 with similarities."""
    words = dict(word.removeprefix("--").split("=", 1) for word in run.words[1:])
    return abs(math.log10(float(words[RATE])) + 2) + (words[CHOICE] != "similarities")


def finished(value: float) -> dict[str, Any]:
    return {"status": "finished", "seconds": 1.0, "metrics": {"val_mae": value}}


def go_on(sweep: Sweep, most: int = 99) -> list[PlannedTrial]:
    """Run trials one by one, as many as there are or so many."""
    found: list[PlannedTrial] = []
    while len(found) < most and (run := sweep.next_trial()):
        sweep.settle(run, finished(value_of(run)))
        found.append(run)
    return found


def words_of(runs: list[PlannedTrial]) -> list[tuple[str, ...]]:
    return [run.words for run in runs]


class TestTrials:
    def test_a_trial_never_tests_and_has_the_seed_of_the_configuration(self, begin: Begin) -> None:
        (run,) = go_on(begin(most=1))
        assert run.words[0] == "fit"
        assert "--test_after_fit=false" in run.words
        assert not [word for word in run.words if "seed" in word]
        assert not run.predicts

    @pytest.mark.slow
    def test_suggestions_learn_from_the_results(self, begin: Begin) -> None:
        values = [value_of(run) for run in go_on(begin(most=26))]
        # The first ten are drawn by chance.
        # The middle one: some suggestions still explore.
        assert statistics.median(values[16:]) < 0.7 * statistics.median(values[:10])

    def test_the_seed_decides(self, begin: Begin) -> None:
        first, again, other = (words_of(go_on(begin(name, 4, seed))) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
        assert first == again
        assert not set(first) & set(other)

    def test_a_grid_is_run_once_and_ends(self, begin: Begin) -> None:
        grid = {"method": "grid", "parameters": {CHOICE: PARAMETERS[CHOICE], RATE: {"values": [0.1, 0.01]}}}
        sweep = begin(most=None, **grid)
        assert sweep.most == 6
        runs = words_of(go_on(sweep, 2))
        runs += words_of(go_on(begin(most=None, **grid)))
        assert len(set(runs)) == len(runs) == 6

    def test_the_best_is_the_least_of_those_that_came_to_their_end(self, begin: Begin) -> None:
        sweep = begin(most=4)
        runs = [sweep.next_trial() for _ in range(4)]
        for run, value in zip(runs, (3.0, 1.0, math.nan, 2.0), strict=True):
            assert run is not None
            sweep.settle(run, finished(value))
        best = sweep.best()
        assert best is not None
        assert (best.number, best.value) == (1, 1.0)
        assert [trial.state for trial in sweep.trials()].count(TrialState.FAIL) == 1
        assert "no val_mae that is a finite number" in facts_of(sweep, [])["trials"][2]["error"]

    def test_a_goal_to_maximize_takes_the_highest(self, begin: Begin) -> None:
        sweep = begin(most=3, metric={"name": "val_acc", "goal": "maximize"})
        for value in (0.3, 0.9, 0.5):
            run = sweep.next_trial()
            assert run is not None
            sweep.settle(run, {"status": "finished", "seconds": 1.0, "metrics": {"val_acc": value}})
        best = sweep.best()
        assert best is not None
        assert best.value == 0.9

    def test_after_five_failures_and_nothing_else_no_more_is_tried(self, begin: Begin) -> None:
        sweep = begin(most=20)
        runs = 0
        while run := sweep.next_trial():
            runs += 1
            assert "FAILED: no memory" in sweep.settle(run, {"status": "failed", "error": "no memory"})
        assert (runs, sweep.gives_up, sweep.best()) == (5, True, None)
        # The same command tries again.
        assert begin(most=20).next_trial() is not None


class TestKilled:
    def test_it_goes_on_as_if_nothing_had_been(self, begin: Begin) -> None:
        # The first ten are drawn by chance, whatever has ended.
        whole = words_of(go_on(begin("whole", 13)))
        first = begin("killed", 13)
        before = words_of(go_on(first, 11))
        lost = first.next_trial()
        assert lost is not None
        # Nothing is told: the process is gone.
        second = begin("killed", 13)
        assert second.settle_earlier() == 1
        after = words_of(go_on(second))
        assert before + after == whole
        assert after[0] == lost.words
        states = [(trial["state"], trial["repeated_as"]) for trial in facts_of(second, [])["trials"]]
        assert states == [("finished", None)] * 11 + [("killed", 12)] + [("finished", None)] * 2

    def test_a_trial_that_had_ended_is_not_repeated(self, begin: Begin) -> None:
        first = begin(most=2)
        run = first.next_trial()
        assert run is not None
        run.folder.mkdir(parents=True)
        (run.folder / "result.json").write_text('{"status": "finished", "seconds": 2, "metrics": {"val_mae": 1.5}}')
        second = begin(most=2)
        assert second.settle_earlier() == 0
        best = second.best()
        assert best is not None
        assert best.value == 1.5
        assert len(go_on(second)) == 1

    def test_more_trials_are_added_to_those_that_are_there(self, begin: Begin) -> None:
        whole = words_of(go_on(begin("whole", 5)))
        assert words_of(go_on(begin("more", 2))) + words_of(go_on(begin("more", 5))) == whole

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"seed": 3}, "--seed: 0; now it is 3"),
            ({"method": "random"}, "method: bayes; now it is random"),
            ({"parameters": {RATE: PARAMETERS[RATE]}}, f"parameters.{CHOICE}: "),
            ({"early_terminate": {"type": "hyperband", "min_iter": 1}}, "early_terminate: None; now it is Halving"),
        ],
    )
    def test_another_sweep_is_not_mixed_with_it(self, changes: dict[str, Any], message: str, begin: Begin) -> None:
        begin()
        with pytest.raises(ConfigError, match="give another --output") as error:
            begin(**changes)
        assert message in str(error.value)


def courses(sweep: Sweep, curves: list[list[float]], epochs: int) -> list[int]:
    """Let trials with these errors report to the study, one after the other; return how far each went."""
    gone = []
    for curve in curves:
        run = sweep.next_trial()
        assert run is not None
        (watch,) = run.callbacks
        assert isinstance(watch, TellStudy)
        trainer: Any = SimpleNamespace(sanity_checking=False, should_stop=False, max_epochs=epochs, current_epoch=0)
        watch.on_fit_start(trainer, torch.nn.Module())  # type: ignore[arg-type]
        for trainer.current_epoch, value in enumerate(curve[:epochs]):
            trainer.callback_metrics = {"val_mae": torch.tensor(value, dtype=torch.float64)}
            watch.on_validation_end(trainer, torch.nn.Module())  # type: ignore[arg-type]
            if trainer.should_stop:
                break
        gone.append(trainer.current_epoch + 1)
        sweep.settle(run, finished(min(curve[: gone[-1]])))
    return gone


def halved(curves: list[list[float]], rungs: list[int], eta: int, epochs: int) -> list[int]:
    """Return how far each goes: at a rung, if it is among the best 1 / eta of those that came to it, at least one."""
    arrived: dict[int, list[float]] = {rung: [] for rung in rungs}
    gone = []
    for curve in curves:
        end = epochs
        for rung in rungs:
            if rung >= epochs or end < epochs:
                break
            arrived[rung].append(curve[rung - 1])
            if curve[rung - 1] > sorted(arrived[rung])[max(1, len(arrived[rung]) // eta) - 1]:
                end = rung
        gone.append(end)
    return gone


@pytest.mark.parametrize(
    ("given", "rungs"),
    [
        pytest.param({"min_iter": 1, "eta": 2}, [1, 2, 4, 8], marks=pytest.mark.slow),
        ({"min_iter": 2, "eta": 3}, [2, 6]),
        # It ends at 2: later nobody is stopped.
        pytest.param({"max_iter": 4, "s": 2, "eta": 2}, [1, 2], marks=pytest.mark.slow),
    ],
)
def test_trials_are_stopped_where_halving_says(given: dict[str, int], rungs: list[int], begin: Begin) -> None:
    generator = torch.Generator().manual_seed(0)
    curves = torch.rand((10, 8), generator=generator, dtype=torch.float64).tolist()
    sweep = begin(most=10, early_terminate={"type": "hyperband", **given})
    gone = courses(sweep, curves, 8)
    assert gone == halved(curves, rungs, given["eta"], 8)
    assert 8 in gone
    assert len(set(gone)) > 1
    facts = facts_of(sweep, [])
    assert [trial["state"] for trial in facts["trials"]] == [
        "finished" if end == 8 else "stopped early" for end in gone
    ]
    assert [len(trial["validations"]) for trial in facts["trials"]] == gone
    ended = [min(curve) for curve, end in zip(curves, gone, strict=True) if end == 8]
    assert facts["trials"][facts["best"]]["value"] == pytest.approx(min(ended))


def test_a_metric_that_is_not_measured_is_said_at_once(begin: Begin) -> None:
    run = begin(metric={"name": "val_mea"}).next_trial()
    assert run is not None
    (watch,) = run.callbacks
    trainer: Any = SimpleNamespace(sanity_checking=False, callback_metrics={"val_mae": torch.tensor(1.0)})
    watch.on_fit_start(trainer, None)
    with pytest.raises(ConfigError, match="'val_mea', is not measured; did you mean 'val_mae'"):
        watch.on_validation_end(trainer, None)


class TestBest:
    def test_it_is_the_configuration_with_the_values_and_nothing_of_the_trials(
        self, begin: Begin, configuration: Configuration
    ) -> None:
        sweep = begin(most=6)
        go_on(sweep)
        write_best(sweep)
        best = sweep.best()
        assert best is not None
        written = yaml.safe_load((sweep.folder / "best.yaml").read_text(encoding="utf-8"))
        arguments = written["model"]["init_args"]
        assert arguments["learning_rates"]["head"] == best.params[RATE]
        assert arguments["weighting"] == best.params[CHOICE]
        arguments["learning_rates"]["head"] = configuration.flat[RATE]
        arguments["weighting"] = configuration.flat[CHOICE]
        assert written == configuration.settings

    @pytest.mark.slow
    def test_importances_name_what_matters(self, begin: Begin) -> None:
        sweep = begin(most=24, method="random", parameters={**PARAMETERS, "data.batch_size": {"values": [8, 16, 32]}})
        go_on(sweep)
        found = facts_of(sweep, [])["importances"]
        assert set(found) == {RATE, CHOICE, "data.batch_size"}
        assert min(found, key=found.__getitem__) == "data.batch_size"


class TestConfiguration:
    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"model.learning_rates.haed": {"values": [1.0, 2.0]}}, "did you mean 'model.learning_rates.head'?"),
            ({"model.nonsense": {"values": [1, 2]}}, "nonsense"),
            ({CHOICE: {"values": ["logits", "nothing"]}}, '"nothing" can\'t be set'),
            ({"data.batch_size": {"min": 1.5, "max": 8.5}}, "line 3: parameters: data.batch_size: 1.5 can't be set"),
        ],
    )
    def test_what_it_does_not_take_is_refused_before_the_first_trial(
        self, parameters: dict[str, Any], message: str, configuration: Configuration, tmp_path: Path
    ) -> None:
        file = tmp_path / "space.yaml"
        file.write_text(yaml.safe_dump({"method": "bayes", "parameters": parameters}), encoding="utf-8")
        with pytest.raises(ConfigError) as error:
            configuration.check(read_space(file))
        assert message in str(error.value)
        assert str(file) in str(error.value)

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("--ckpt_path=x.ckpt", "its settings would go before those of every trial"),
            ("--seed_everything=false", "seed_everything is False; give a number"),
        ],
    )
    def test_a_start_that_makes_trials_unequal_is_refused(self, word: str, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            Configuration([f"--config={CONFIGS / 'counting.yaml'}", word])

    def test_selection_on_test_images_is_refused(self) -> None:
        words = [f"--config={CONFIGS / 'aesthetics.yaml'}", "--data.select_on=test"]
        with pytest.raises(ConfigError, match="trials would be chosen by the test images"):
            Configuration(words)

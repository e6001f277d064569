"""Between CLIP and the fit: exact ends, the closed forms of simple cases, and a checkpoint that every verb takes."""

from pathlib import Path as File
from typing import Any

import pytest
import torch
from torch import Tensor

from numclip_lightning.methods.base import LearningRates
from numclip_lightning.methods.numclip import NumCLIP
from numclip_lightning.methods.numclip_plus import NumCLIPPlus
from numclip_lightning.runs.interpolate import Path, Walk, barriers, estimate_statistics, path_between, walk
from support.command import Numclip, failure, metrics_of, rows_of
from support.tiny_fit import SCALE, bright, loader, quiet_trainer

TRAINED = LearningRates(image_encoder=1e-2, logit_scale=1e-2, text_encoder=0)
TARGETS = [0.0, 1.0, 2.0, 4.0, 6.0]


def build() -> NumCLIP:
    torch.manual_seed(0)
    return NumCLIP(scale=SCALE, backbone="mini", pretrained="auto", learning_rates=TRAINED)


@torch.no_grad()
def as_fitted(method: NumCLIP) -> dict[str, Tensor]:
    """What a fit might make of a method: all but the frozen text tower has moved."""
    state = {name: value.clone() for name, value in method.state_dict().items()}
    for name, value in state.items():
        if name.startswith("clip.text"):
            continue
        if value.is_floating_point():
            # Variances stay positive.
            noise = torch.rand_like(value) if "var" in name else torch.randn_like(value)
            value.add_(0.02 * noise)
        else:
            value.add_(7)
    state["clip.logit_scale"] = torch.tensor(1.0).log().reshape(state["clip.logit_scale"].shape)
    return state


def images(number: int = 5) -> list[dict[str, Tensor]]:
    found = bright((TARGETS * 8)[:number], noise=1)
    return [{**one, "image": torch.nn.functional.interpolate(one["image"][None], size=64)[0]} for one in found]


def place(method: NumCLIP, path: Path, **rest: Any) -> Walk:
    batches = list(loader(images(), 3))
    return Walk(method, quiet_trainer(), path, lambda: batches, **rest)


class TestThePath:
    def test_it_has_what_starts_from_clip_and_has_moved(self) -> None:
        method = build()
        fit = as_fitted(method)
        path = path_between(method, fit)
        blocks = ["layer1.0", "layer2.0", "layer2.1", "layer3.0", "layer3.1", "layer4.0"]
        assert list(path.parts) == ["stem", *blocks, "top", "words", "logit scale"]
        names = [name for part in path.parts.values() for name in part]
        assert set(names) == set(path.end)
        assert len(names) == len(set(names))
        own = dict(method.named_parameters())
        expected = {name for name in own if name.startswith(("clip.visual", "prompts", "clip.logit"))}
        statistics = {name for name in fit if name.endswith(("running_mean", "running_var"))}
        assert set(names) == expected | statistics

    def test_the_ends_are_exact_and_the_middle_is_the_mean(self) -> None:
        method = build()
        path = path_between(method, as_fitted(method))
        for name in path.end:
            assert torch.equal(path.at(0)[name], path.start[name])
            assert torch.equal(path.at(1)[name], path.end[name])
            torch.testing.assert_close(path.at(0.25)[name], 0.75 * path.start[name] + 0.25 * path.end[name])

    def test_the_temperature_is_interpolated_geometrically(self) -> None:
        method = build()
        path = path_between(method, as_fitted(method))
        before, after = path.start["clip.logit_scale"].exp(), path.end["clip.logit_scale"].exp()
        torch.testing.assert_close(path.at(0.5)["clip.logit_scale"].exp(), (before * after).sqrt())

    def test_one_part_moves_alone(self) -> None:
        method = build()
        path = path_between(method, as_fitted(method))
        state = path.at(0, path.parts["words"])
        assert {name for name in state if not torch.equal(state[name], path.end[name])} == set(path.parts["words"])


class TestTheWalk:
    def test_the_ends_predict_as_clip_and_as_the_fit(self) -> None:
        method = build()
        fit = as_fitted(method)
        path = path_between(method, fit)
        clip = build()
        # CLIP's towers and words, the fit's adapter and head, and its counters.
        clip.load_state_dict({**fit, **path.start})
        trained = build()
        trained.load_state_dict(fit)
        method.load_state_dict(fit)
        batch = torch.stack([one["image"] for one in images()])
        for calibration in ([], [batch]):
            walker = place(method, path, calibration=calibration)
            for alpha, expected in ((0.5, None), (0.0, clip), (1.0, trained)):
                walker.go(alpha)
                if expected is not None:
                    with torch.no_grad():
                        found, wanted = method.eval()(batch), expected.eval()(batch)
                    assert torch.equal(found.value, wanted.value)
                    assert torch.equal(found.logits, wanted.logits)

    def test_the_errors_are_those_of_a_test(self) -> None:
        method = build()
        fit = as_fitted(method)
        path = path_between(method, fit)
        method.load_state_dict(fit)
        points = walk(place(method, path), [0.0, 0.5, 1.0])
        for point in points:
            other = build()
            other.load_state_dict({**fit, **path.at(point.alpha)})
            runner = quiet_trainer()
            runner.test(other, loader(images()), verbose=False)
            assert point.mae == pytest.approx(runner.callback_metrics["test_mae"].item(), rel=1e-5)

    def test_counters_stay_those_of_the_fit(self) -> None:
        method = build()
        fit = as_fitted(method)
        path = path_between(method, fit)
        method.load_state_dict(fit)
        place(method, path, calibration=[torch.randn(4, 3, 64, 64)]).go(0.5)
        counters = [name for name in fit if name.endswith("num_batches_tracked")]
        assert counters
        for name in counters:
            assert method.state_dict()[name].dtype == torch.int64
            assert torch.equal(method.state_dict()[name], fit[name])


def test_statistics_are_the_mean_over_batches() -> None:
    method = build()
    batches = [torch.randn(4, 3, 64, 64) + shift for shift in (0, 1)]
    seen: list[Tensor] = []
    first: Any = method.clip.visual.get_submodule("bn1")
    hook = first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    before = {name: value.clone() for name, value in method.state_dict().items()}
    estimate_statistics(method, quiet_trainer(), batches)
    hook.remove()
    mean = torch.stack([x.mean(dim=(0, 2, 3)) for x in seen]).mean(dim=0)
    variance = torch.stack([x.var(dim=(0, 2, 3)) for x in seen]).mean(dim=0)
    torch.testing.assert_close(first.running_mean, mean)
    torch.testing.assert_close(first.running_var, variance)
    changed = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    assert all(name.endswith(("running_mean", "running_var")) for name in changed)
    assert not any(module.training for module in method.modules())


def test_statistics_are_of_the_one_look_that_training_has() -> None:
    torch.manual_seed(0)
    method = NumCLIPPlus(scale=SCALE, backbone="mini", pretrained="auto", spread=2.0)
    method.load_state_dict({**method.state_dict(), "shown": torch.tensor([1.0, 1.25])})
    seen: list[Tensor] = []
    method.clip.visual.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch = torch.randn(4, 3, 64, 64)
    estimate_statistics(method, quiet_trainer(), [batch])
    assert len(seen) == 1
    assert torch.equal(seen[0], batch)


class Quadratic(Walk):
    """An error that is quadratic in the weights: L(w) = 5 + w'Hw / 2 around the fit's valley."""

    hessian = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)

    def error(self, alpha: float, names: Any = None) -> float:
        state = self.path.at(alpha, names)
        w = torch.cat([state["a"], state["b"]])
        return 5 + float(w @ self.hessian @ w) / 2


def test_the_barrier_of_a_quadratic_is_its_closed_form_and_the_highest_comes_first() -> None:
    start = {"a": torch.tensor([3.0]).double(), "b": torch.tensor([-1.0]).double()}
    end = {"a": torch.tensor([1.0]).double(), "b": torch.tensor([1.0]).double()}
    path = Path(start, end, {"one": ["a"], "other": ["b"]})
    walker = Quadratic(build(), quiet_trainer(), path, list)
    found = barriers(walker, [0.0, 0.3, 0.5, 1.0])
    # -a (1 - a) d'Hd / 2, with d'Hd = 8 and 4.
    for barrier, curvature in zip(found, (4, 8), strict=True):
        expected = {a: -a * (1 - a) * curvature / 2 for a in (0.3, 0.5)}
        assert barrier.heights == pytest.approx(expected)
    assert [barrier.part for barrier in found] == ["other", "one"]
    assert found[1].distance == pytest.approx(2 / 3)


@pytest.fixture
def mini(numclip: Numclip) -> list[str]:
    """The flags of a fit that starts from the embedded CLIP."""
    return ["--model.backbone=mini", "--model.pretrained=auto", "--data.image_size=64", "--trainer.max_epochs=1"]


@pytest.mark.slow
def test_the_command_writes_tables_and_a_checkpoint_that_other_verbs_take(
    numclip: Numclip, mini: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = numclip("fit", *mini, "--model.learning_rates.image_encoder=1e-2", "--averaging.decay=0.5")
    best = metrics_of(run)["best_checkpoint"]
    words = ["--config", str(run / "config.yaml"), *numclip.small]
    found = numclip.plain("interpolate", *words, "--ckpt_path", best, "--alphas=[0.5]", "--batch_norm_images=8")
    assert found.name.split("-")[2] == "interpolate"
    rows = {float(row["alpha"]): float(row["val_mae"]) for row in rows_of(found / "interpolation.csv")}
    assert list(rows) == [0, 0.5, 1]
    assert rows[1] == pytest.approx(metrics_of(run)["val_mae"], abs=1e-4)
    assert metrics_of(found)["val_mae"] == pytest.approx(min(rows.values()), abs=1e-4)
    table = rows_of(found / "barriers.csv")
    heights = [float(row["barrier_max"]) for row in table]
    assert heights == sorted(heights, reverse=True)
    assert {"stem", "top", "words"} <= {row["part"] for row in table}
    assert "| part | distance |" in (found / "interpolation.md").read_text(encoding="utf-8")
    assert "Chosen: " in capsys.readouterr().out
    kept = str(found / "checkpoints" / "interpolated.ckpt")
    state = torch.load(kept, weights_only=True)
    assert rows[state["interpolation"]["alpha"]] == min(rows.values())
    assert "averaging" not in state
    again = numclip.plain("validate", *words, "--ckpt_path", kept)
    assert metrics_of(again)["val_mae"] == pytest.approx(min(rows.values()), abs=1e-4)
    assert File(kept).is_file()


def test_what_can_not_be_interpolated_is_said(
    numclip: Numclip, mini: list[str], fitted: File, capsys: pytest.CaptureFixture[str]
) -> None:
    run = numclip("fit", *mini, "--model=LinearProbe")
    best = ["--ckpt_path", metrics_of(run)["best_checkpoint"]]
    words = ["interpolate", "--config", str(run / "config.yaml"), *numclip.small]
    for more, message in (
        (best, "there is nothing to interpolate: in this checkpoint of LinearProbe"),
        ([], "needs the checkpoint of a fit; give --ckpt_path"),
        ([*best, "--alphas=[0.5,1.5]"], "alphas has 1.5; give numbers from 0"),
        ([*best, "--batch_norm_images=1"], "batch_norm_images is 1; give 2 or more"),
    ):
        assert failure(*words, *more) == 2
        assert message in capsys.readouterr().err
    assert failure("interpolate", "--config", str(fitted / "config.yaml"), *numclip.small, "--ckpt_path",
                   metrics_of(fitted)["best_checkpoint"]) == 2  # fmt: skip
    assert "model.pretrained is null, so that there is no CLIP" in capsys.readouterr().err

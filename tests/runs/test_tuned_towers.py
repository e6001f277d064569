"""A tower that is tuned by few numbers: fit, test, resume, predictor, export and interpolation give one answer."""

from pathlib import Path
from typing import Any

import pytest
import torch

from numclip_lightning.cli import main
from numclip_lightning.deploy import OrdinalPredictor
from numclip_lightning.deploy.checkpoints import load_checkpoint
from numclip_lightning.errors import ConfigError
from numclip_lightning.methods import CosineClassifier, NumCLIP, ZeroShotCLIP
from numclip_lightning.methods.base import LearningRates, TuneSpec
from support.command import Numclip, config_of, failure, metrics_of, rows_of
from support.tiny_fit import SCALE, TINY

RATES = "{image_encoder: 0.01, text_encoder: 0.01, adapter: 0, context: 0.001, phrases: 0.001, head: 0.001}"
WORDS = ["--model.backbone=mini", "--model.pretrained=auto", "--data.image_size=64", f"--model.learning_rates={RATES}",
         "--model.lr_scheduler=null", "--checkpoint.frozen=leave_out"]  # fmt: skip
MODES = {
    "svd": ["--model.tune=svd"],
    "lora": ["--model.tune.mode=lora", "--model.tune.rank=2", "--averaging.decay=0.5"],
    "last_n": ["--model.tune={mode: last_n, blocks: 1}"],
}


class Tuned:
    """A fit with each way of tuning, tested at its end, when it is first asked for."""

    def __init__(self, data: Path, runs: Path) -> None:
        self.numclip = Numclip(data, runs)
        self.known: dict[str, Path] = {}

    def run(self, mode: str) -> Path:
        if mode not in self.known:
            self.known[mode] = self.fit(mode, "--test_after_fit=true")
        return self.known[mode]

    def fit(self, mode: str, *more: str) -> Path:
        return self.numclip("fit", *WORDS, *MODES[mode], *more)

    def checkpoint(self, mode: str, name: str = "best") -> Path:
        return self.run(mode) / "checkpoints" / f"{name}.ckpt"

    def state(self, mode: str, name: str = "best") -> dict[str, Any]:
        state: dict[str, Any] = torch.load(self.checkpoint(mode, name), weights_only=True)
        return state


@pytest.fixture(scope="module")
def tuned(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return Tuned(data, tmp_path_factory.mktemp("tuned"))


@pytest.mark.parametrize(
    "mode", ["svd", pytest.param("lora", marks=pytest.mark.slow), pytest.param("last_n", marks=pytest.mark.slow)]
)
def test_the_checkpoint_has_what_is_trained_and_leaves_out_the_weights_at_rest(tuned: Tuned, mode: str) -> None:
    checkpoint = tuned.state(mode)
    kept, gone = checkpoint["state_dict"], checkpoint["left_out"]["tensors"]
    assert "clip.visual.conv1.weight" in gone
    block = "clip.visual.layer4.0.conv2"
    if mode == "last_n":
        assert {f"{block}.weight", "clip.visual.attnpool.c_proj.weight", "clip.text.projection"} <= kept.keys()
        assert "clip.visual.layer3.0.conv2.weight" in gone
    else:
        assert f"{block}.parametrizations.weight.original" in gone
        assert f"{block}.parametrizations.weight.0.{'delta' if mode == 'svd' else 'a'}" in kept
        assert "clip.visual.attnpool.c_proj.weight" in gone
    assert (
        config_of(tuned.run(mode))["model"]["init_args"]["tune"]
        == {
            "svd": "svd",
            "lora": {"mode": "lora", "blocks": None, "rank": 2, "alpha": 16.0},
            "last_n": {"mode": "last_n", "blocks": 1, "rank": 8, "alpha": 16.0},
        }[mode]
    )


@pytest.mark.parametrize("mode", ["svd", "lora"])
def test_test_and_predictor_give_the_numbers_of_the_fit(tuned: Tuned, mode: str) -> None:
    run, numclip = tuned.run(mode), tuned.numclip
    rows = rows_of(run / "test_predictions.csv")
    images = [numclip.data / row["path"] for row in rows]
    expected = [float(row["value"]) for row in rows]
    assert [one.value for one in OrdinalPredictor.load(run)(images)] == pytest.approx(expected, abs=2e-4)
    words = ["--config", str(run / "config.yaml"), *numclip.small, f"--ckpt_path={tuned.checkpoint(mode)}"]
    again = numclip.plain("test", *words)
    assert metrics_of(again)["test_mae"] == pytest.approx(metrics_of(run)["test_mae"], abs=1e-5)
    own = load_checkpoint(tuned.checkpoint(mode)).state_dict()
    assert not [name for name in own if "parametrizations" in name]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["svd", "lora"])
def test_an_export_gives_the_numbers_of_the_fit(tuned: Tuned, mode: str, tmp_path: Path) -> None:
    run = tuned.run(mode)
    rows = rows_of(run / "test_predictions.csv")
    assert main(["export", f"--run={run}", f"--output={tmp_path / 'exported'}"]) == 0
    exported = OrdinalPredictor.load(tmp_path / "exported")([tuned.numclip.data / row["path"] for row in rows])
    assert [one.value for one in exported] == pytest.approx([float(row["value"]) for row in rows], abs=2e-4)


def test_a_resumed_fit_goes_on_with_the_same_numbers(tuned: Tuned) -> None:
    run = tuned.fit("svd", "--trainer.max_epochs=3", f"--ckpt_path={tuned.checkpoint('svd', 'last')}")
    before, after = tuned.state("svd", "last"), torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert (before["epoch"], after["epoch"]) == (1, 2)
    assert after["left_out"] == before["left_out"]
    old, new = before["state_dict"], after["state_dict"]
    assert old.keys() == new.keys()
    for name, value in old.items():
        if name.endswith((".u", ".v", ".delta")):
            assert torch.equal(new[name], value) != name.endswith(".delta")


@pytest.mark.slow
def test_interpolated_weights_are_those_of_whole_towers(
    tuned: Tuned, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["--config", str(tuned.run("svd") / "config.yaml"), *tuned.numclip.small]
    best = tuned.checkpoint("svd")
    run = tuned.numclip.plain("interpolate", *words, f"--ckpt_path={best}", "--alphas=[0.5]", "--parts=false")
    found = {row["alpha"]: float(row["val_mae"]) for row in rows_of(run / "interpolation.csv")}
    assert found["1"] == pytest.approx(metrics_of(tuned.run("svd"))["val_mae"], abs=1e-4)
    kept = run / "checkpoints" / "interpolated.ckpt"
    chosen = min(found, key=lambda alpha: (found[alpha], -float(alpha)))
    own, fit = load_checkpoint(kept).state_dict(), load_checkpoint(best).state_dict()
    start = NumCLIP(scale=SCALE, backbone="mini", pretrained="auto").state_dict()
    name = "clip.visual.layer4.0.conv2.weight"
    torch.testing.assert_close(own[name], torch.lerp(start[name], fit[name], float(chosen)), atol=1e-6, rtol=0)
    assert failure("fit", *words, f"--ckpt_path={kept}") == 2
    assert "has the weights of whole towers, and tune=svd trains a change beside them" in capsys.readouterr().err


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("tune", "message"),
        [
            ("half", "tune.mode is 'half'; choose one of 'full', 'svd', 'lora', 'last_n'"),
            ({"mode": "lora", "rank": 0}, "tune.rank is 0; give a number above 0"),
            ({"blocks": 2}, "tune.blocks goes with svd, lora or last_n"),
        ],
    )
    def test_words_and_numbers(self, tune: Any, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            CosineClassifier(**TINY, tune=tune)

    def test_nothing_to_tune_and_rates_of_whole_towers(self) -> None:
        with pytest.raises(ConfigError, match="tune=svd, but image and text tower are frozen; raise learning_rates"):
            CosineClassifier(**TINY, tune="svd", learning_rates=LearningRates(image_encoder=0, head=1e-2))
        with pytest.raises(ConfigError, match="by_size fits the rate of a whole tower, and tune=lora"):
            CosineClassifier(**TINY, tune="lora", learning_rates=LearningRates(by_size=True, head=1e-2))
        with pytest.raises(ConfigError, match="image and text tower are frozen"):
            ZeroShotCLIP(**TINY, tune="last_n")

    def test_more_blocks_than_there_are(self) -> None:
        method = CosineClassifier(**TINY, tune=TuneSpec("svd", blocks=3))
        with pytest.raises(ConfigError, match=r"tune\.blocks is 3, but the image tower has 2; give no more"):
            method.setup("fit")

"""Checkpoints without frozen weights: smaller, and every number that is read from them is the same."""

import logging
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from numclip_lightning.cli import main
from numclip_lightning.deploy import OrdinalPredictor
from numclip_lightning.deploy.checkpoints import load_checkpoint
from numclip_lightning.errors import ConfigError
from numclip_lightning.methods import SORD
from numclip_lightning.methods.base.frozen import find_again, fingerprint, left_out, put_back, take_out
from numclip_lightning.runs.interpolation_files import read_whole, write_checkpoint
from support.command import Numclip, failure, metrics_of, rows_of
from support.scales import DOTS

LEAVE_OUT = "--checkpoint.frozen=leave_out"


def clip_in(folder: Path) -> str:
    """A copy of the embedded CLIP, whose weights a test may change."""
    shutil.copytree(Path(str(files("numclip_lightning.models") / "mini")), folder)
    return f"local-dir:{folder}"


def words_of(clip: str, *more: str) -> list[str]:
    rates = "{image_encoder: 0, adapter: 1.0e-3, context: 1.0e-3, phrases: 1.0e-3, head: 1.0e-3}"
    return [f"--model.backbone={clip}", "--model.pretrained=auto", "--data.image_size=64",
            f"--model.learning_rates={rates}", "--model.lr_scheduler=null", *more]  # fmt: skip


class Twins:
    """The same fit twice: with all weights in its checkpoints, and without the frozen ones."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.numclip = Numclip(data, folder / "runs")
        self.words = words_of(clip_in(folder / "clip"))
        self.runs = {
            frozen: self.numclip(
                "fit", *self.words, f"--checkpoint.frozen={frozen}", "--averaging.decay=0.9", "--test_after_fit=true"
            )
            for frozen in ("keep", "leave_out")
        }

    def checkpoint(self, frozen: str, name: str = "best") -> Path:
        return self.runs[frozen] / "checkpoints" / f"{name}.ckpt"

    def state(self, frozen: str, name: str = "best") -> dict[str, Any]:
        state: dict[str, Any] = torch.load(self.checkpoint(frozen, name), weights_only=True)
        return state


@pytest.fixture(scope="module")
def twins(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Twins:
    return Twins(tmp_path_factory.mktemp("frozen"), data)


def test_they_are_smaller_by_the_frozen_weights_and_else_the_same(twins: Twins) -> None:
    keep, leave = twins.state("keep"), twins.state("leave_out")
    gone = keep["state_dict"].keys() - leave["state_dict"].keys()
    assert {"clip.visual.conv1.weight", "clip.text.token_embedding.weight"} <= gone
    assert set(leave["left_out"]["tensors"]) == gone
    assert all(torch.equal(tensor, keep["state_dict"][name]) for name, tensor in leave["state_dict"].items())
    bytes_gone = sum(keep["state_dict"][name].nbytes for name in gone)
    sizes = [twins.checkpoint(frozen).stat().st_size for frozen in ("keep", "leave_out")]
    assert sizes[0] - sizes[1] > 0.9 * bytes_gone


def values_of(file: Path) -> list[str]:
    return [row["value"] for row in rows_of(file)]


def test_test_and_predict_give_the_same_numbers(twins: Twins) -> None:
    expected, measured = (twins.runs["keep"] / name for name in ("test_predictions.csv", "metrics.json"))
    assert rows_of(twins.runs["leave_out"] / expected.name) == rows_of(expected)
    assert metrics_of(twins.runs["leave_out"])["test_mae"] == metrics_of(measured.parent)["test_mae"]
    words = ["--config", str(twins.runs["leave_out"] / "config.yaml"), *twins.numclip.small]
    words += ["--ckpt_path", str(twins.checkpoint("leave_out"))]
    assert rows_of(twins.numclip.plain("test", *words) / expected.name) == rows_of(expected)
    listed = f"--data.predict_path={twins.numclip.data / 'test.txt'}"
    assert values_of(twins.numclip.plain("predict", *words, listed) / "predictions.csv") == values_of(expected)


def test_the_predictor_and_its_export_give_the_same_numbers_and_those_of_the_averages(
    twins: Twins, tmp_path: Path
) -> None:
    rows = rows_of(twins.runs["keep"] / "test_predictions.csv")
    images = [twins.numclip.data / row["path"] for row in rows]
    keep, leave = (
        [one.value for one in OrdinalPredictor.load(twins.runs[frozen])(images)] for frozen in ("keep", "leave_out")
    )
    assert leave == keep
    assert main(["export", f"--run={twins.runs['leave_out']}", f"--output={tmp_path / 'exported'}"]) == 0
    exported = OrdinalPredictor.load(tmp_path / "exported")(images)
    assert [one.value for one in exported] == pytest.approx(keep, abs=9e-6)
    # What the fit has tested, that is the averaged weights: those that training goes on from say something else.
    assert keep == pytest.approx([float(row["value"]) for row in rows], abs=1e-4)
    state = twins.state("keep")
    state["state_dict"].update(state.pop("averaging")["weights"])
    trained = tmp_path / "trained" / "checkpoints" / "best.ckpt"
    trained.parent.mkdir(parents=True)
    torch.save(state, trained)
    shutil.copy(twins.runs["keep"] / "config.yaml", trained.parents[1])
    assert [one.value for one in OrdinalPredictor.load(trained)(images)] != pytest.approx(keep, abs=1e-3)


def test_a_resumed_fit_goes_on_to_the_same_weights(twins: Twins) -> None:
    states = {}
    for frozen in twins.runs:
        run = twins.numclip(
            "fit", *twins.words, f"--checkpoint.frozen={frozen}", "--averaging.decay=0.9", "--trainer.max_epochs=3",
            f"--ckpt_path={twins.checkpoint(frozen, 'last')}",
        )  # fmt: skip
        states[frozen] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    keep, leave = states["keep"], states["leave_out"]
    assert leave["epoch"] == 2
    assert set(leave["left_out"]["tensors"]) == keep["state_dict"].keys() - leave["state_dict"].keys() != set()
    assert all(torch.equal(tensor, keep["state_dict"][name]) for name, tensor in leave["state_dict"].items())


def test_interpolated_weights_are_read_whole_and_left_out_again(twins: Twins, tmp_path: Path) -> None:
    best, kept = twins.checkpoint("leave_out"), tmp_path / "interpolated.ckpt"
    method = load_checkpoint(best)
    whole = read_whole(str(best), method)
    assert whole["state_dict"].keys() == method.state_dict().keys()
    write_checkpoint(kept, whole, method.state_dict(), {}, "val")
    assert kept.stat().st_size < twins.checkpoint("keep").stat().st_size / 2
    again = load_checkpoint(kept).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in method.state_dict().items())


class TestWhatDoesNotFit:
    def test_other_weights_of_the_same_shape(
        self, twins: Twins, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        clip = clip_in(tmp_path / "other")
        (file,) = (tmp_path / "other").glob("*.safetensors")
        weights = load_file(file)
        weights["visual.conv1.weight"] += 1e-3
        save_file(weights, file)
        best = twins.checkpoint("leave_out")
        for changed in (f"--model.backbone={clip}", "--model.pretrained=null"):
            assert failure("test", *twins.numclip.flags, *twins.words, changed, f"--ckpt_path={best}") == 2
            said = capsys.readouterr().err
            assert "leaves out the frozen weights of backbone='local-dir:" in said
            assert "'clip.visual.conv1.weight'" in said or "tensors differ" in said
        with pytest.raises(ConfigError, match=r"1 of \d+ tensors differ \(first 'clip\.visual\.conv1\.weight'\)"):
            OrdinalPredictor.load(best, backbone=clip)

    def test_weights_that_have_gone(self, twins: Twins) -> None:
        place = Path(twins.words[0].partition("local-dir:")[2])
        moved = place.rename(place.with_name("moved"))
        try:
            with pytest.raises(ConfigError, match=r"no folder .*leaves out frozen weights: say where its CLIP is now"):
                OrdinalPredictor.load(twins.runs["leave_out"])
            assert OrdinalPredictor.load(twins.runs["leave_out"], backbone=f"local-dir:{moved}")
        finally:
            moved.rename(place)

    @pytest.mark.parametrize("where", ["state_dict", "left_out"])
    def test_more_is_missing_than_was_left_out(
        self, twins: Twins, where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        checkpoint = twins.state("leave_out")
        kept = checkpoint["state_dict"] if where == "state_dict" else checkpoint["left_out"]["tensors"]
        name = next(iter(kept))
        del kept[name]
        torch.save(checkpoint, tmp_path / "less.ckpt")
        words = [*twins.numclip.flags, *twins.words, f"--ckpt_path={tmp_path / 'less.ckpt'}"]
        assert failure("test", *words) == 2
        assert f"1 are missing in the checkpoint (first '{name}')" in capsys.readouterr().err

    def test_a_tensor_is_left_out_that_the_method_does_not_have(self, twins: Twins, tmp_path: Path) -> None:
        checkpoint = twins.state("leave_out")
        checkpoint["left_out"]["tensors"]["clip.visual.more"] = "float32:00"
        torch.save(checkpoint, tmp_path / "more.ckpt")
        assert failure("test", *twins.numclip.flags, *twins.words, f"--ckpt_path={tmp_path / 'more.ckpt'}") == 2


def test_random_weights_are_kept_and_it_is_said(numclip: Numclip, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "numclip_lightning"):
        run = numclip("fit", "--model=LinearProbe", LEAVE_OUT, "--trainer.max_epochs=1")
    assert "no frozen weights can be found again" in caplog.text
    state = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert any(name.startswith("clip.visual.") for name in state["state_dict"])


def test_a_tuned_tower_is_kept_and_so_is_a_frozen_tensor_that_was_changed() -> None:
    arguments: dict[str, Any] = {"scale": DOTS, "backbone": "mini", "pretrained": "auto"}
    tuned = SORD(**arguments)
    assert find_again(tuned, "mini", "auto") == {}
    frozen = SORD(**arguments, learning_rates={"image_encoder": 0})
    found = find_again(frozen, "mini", "auto")
    name = "clip.visual.conv1.weight"
    with torch.no_grad():
        frozen.get_parameter(name).add_(1)
    checkpoint = {"state_dict": frozen.state_dict(), "hyper_parameters": dict(frozen.hparams)}
    take_out(frozen, checkpoint, found)
    assert name in checkpoint["state_dict"]
    assert set(left_out(checkpoint)) == found.keys() - {name}
    # Double precision has the same numbers in another type, which is what comes back.
    double = SORD(**arguments, learning_rates={"image_encoder": 0}).double()
    checkpoint = {"state_dict": double.state_dict(), "hyper_parameters": dict(double.hparams)}
    take_out(double, checkpoint, found)
    assert set(left_out(checkpoint)) == set(found)
    put_back(SORD(**arguments, learning_rates={"image_encoder": 0}), checkpoint)
    assert all(fingerprint(checkpoint["state_dict"][key]) == fingerprint(tensor)
               for key, tensor in double.state_dict().items())  # fmt: skip

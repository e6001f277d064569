"""Every format gives the module's number, with the preprocessing inside, and changes nothing of the model."""

import gc
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from numclip_lightning.cli import main
from numclip_lightning.deploy import OrdinalPredictor
from numclip_lightning.deploy.formats import FORMATS, export, metadata
from numclip_lightning.deploy.libraries import needs
from numclip_lightning.deploy.parity import compare, parity_table, runner
from numclip_lightning.deploy.recipe import Recipe
from numclip_lightning.deploy.resizing import InGraph
from numclip_lightning.errors import ConfigError
from numclip_lightning.methods import NumCLIP
from support.command import config_of, failure
from support.predictors import random_images, tiny_predictor

SIZES = [(32, 32), (64, 64), (96, 130), (251, 177), (20, 31), (7, 5), (33, 32)]


@pytest.mark.parametrize("preprocess", ["clip", "published", "whole"])
@pytest.mark.parametrize("side", [32, 65])
def test_preprocessing_in_a_graph_is_the_recipe_to_a_grey_level(preprocess: str, side: int) -> None:
    recipe = Recipe.of({"preprocess": preprocess, "image_size": side, "mean": [0.1, 0.2, 0.3], "std": [1 / 255] * 3})
    module, generator = InGraph(recipe), np.random.default_rng(0)
    for height, width in SIZES:
        coarse = generator.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
        pixels = np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
        difference = (module(torch.from_numpy(pixels)[None])[0] - recipe(pixels)).abs()
        assert difference.max() <= 1.01, (height, width)
        assert (difference > 0.5).float().mean() < 0.01, (height, width)


@pytest.mark.slow
def test_a_torch_program_takes_any_size_and_batch_and_holds_no_text_tower(tmp_path: Path) -> None:
    images = random_images(4)
    before = tiny_predictor()(images)
    file = export(tiny_predictor(), "torch", tmp_path)
    (_, found) = compare(tiny_predictor(), ["torch"], tmp_path, images)
    assert found.agrees
    assert found.largest < 1e-4
    assert tiny_predictor()(images) == before
    assert not any(".text." in name for name in torch.export.load(str(file)).state_dict)


@pytest.mark.slow
def test_the_command_line_knows_one_method_of_a_name_after_an_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gc.disable()
    try:
        export(tiny_predictor(), "torch", tmp_path)
        assert len(NumCLIP.__subclasses__()) > 1, "PyTorch leaves none behind any more: see runs/parser.py"
        assert failure("fit", "--model=NumCLIP", "--data=ListDataModule", "--print_config") == 0
    finally:
        gc.enable()
    assert yaml.safe_load(capsys.readouterr().out)["model"]["class_path"] == "numclip_lightning.methods.NumCLIP"


def test_onnx_says_what_the_module_says_and_carries_its_scale(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    images = random_images(5)
    file = export(tiny_predictor(), "onnx", tmp_path)
    module, found = compare(tiny_predictor(), ["onnx"], tmp_path, images)
    assert module.largest < 1e-5
    assert found.agrees
    same = runner("onnx", file)(np.stack([images[0]] * 3))
    assert same == pytest.approx([tiny_predictor()(images[0]).value] * 3, abs=1e-4)
    assert {entry.key: entry.value for entry in onnx.load(str(file)).metadata_props} == metadata(tiny_predictor())
    assert [one.name for one in runtime.InferenceSession(str(file)).get_outputs()] == tiny_predictor().halves.names
    assert "| onnx |" in parity_table([module, found], "dots")


@pytest.mark.slow
def test_openvino_says_what_the_module_says(tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "openvino"):
        pytest.importorskip(name, reason="the extra openvino is not installed")
    images = random_images(3)
    export(tiny_predictor(), "openvino", tmp_path)
    _, found = compare(tiny_predictor(), ["openvino"], tmp_path, images)
    assert found.agrees
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.bin", "model.xml"]


@pytest.mark.slow
def test_int8_is_smaller_and_near(tmp_path: Path) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="the extra onnx is not installed")
    images = random_images(5)
    file = export(tiny_predictor(), "onnx", tmp_path)
    same = runner("onnx", file)(images[0][None])
    rough = export(tiny_predictor(), "onnx-int8", tmp_path, images)
    assert rough.stat().st_size < file.stat().st_size
    assert runner("onnx-int8", rough)(images[0][None]) == pytest.approx(same, abs=1.0)
    with pytest.raises(ConfigError, match="calibrated on images"):
        export(tiny_predictor(), "onnx-int8", tmp_path)


def test_a_missing_library_is_named_with_its_extra() -> None:
    with pytest.raises(
        ConfigError, match=r"needs no_such_library; install it with pip install 'numclip-lightning\[x\]'"
    ):
        needs("x", "no_such_library")


class TestCommand:
    def test_a_run_is_written_compared_and_predicts_from_its_folder(
        self, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["export", "--run", str(fitted), "--output", str(tmp_path / "out"), "--check=true", "--most_images=5"]
        assert main(words) == 0
        printed = capsys.readouterr().out
        assert "safetensors: " in printed
        assert "largest difference on 5 images" in printed
        assert "| MAE" in printed
        rows = json.loads((tmp_path / "out" / "parity.json").read_text(encoding="utf-8"))
        assert [row["format"] for row in rows] == ["module", "safetensors"]
        # What the run has measured itself, on the first five of its validation images.
        config = config_of(fitted)["data"]["init_args"]
        lines = Path(config["root"], config["val_file"]).read_text(encoding="utf-8").splitlines()[:5]
        paths, targets = zip(*(line.split() for line in lines), strict=True)
        values = [one.value for one in OrdinalPredictor.load(fitted)([Path(config["root"], path) for path in paths])]
        expected = sum(abs(value - float(target)) for value, target in zip(values, targets, strict=True)) / 5
        assert rows[0]["mae"] == pytest.approx(expected, abs=1e-5)
        card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
        assert "Mean absolute error on 17 test images: **" in card
        assert "| few | " in card
        assert str(fitted) not in card

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--format=onx"], "--format is 'onx'; choose one of"),
            (["--run=nowhere"], "nowhere is neither a file, a folder nor"),
            (["--format=onnx-int8", "--images=nowhere.png"], "nowhere.png doesn't exist"),
        ],
    )
    def test_a_mistake_is_a_message(
        self, words: list[str], message: str, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["export", f"--run={fitted}", f"--output={tmp_path}", *words]) == 2
        assert message in capsys.readouterr().err

    def test_all_formats_have_a_file(self) -> None:
        assert len({file for file, _ in FORMATS.values()}) == len(FORMATS)

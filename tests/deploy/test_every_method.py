"""Every method of the collection leaves as tensors and a graph whose numbers are those of the module."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from numclip_lightning.deploy import OrdinalPredictor
from numclip_lightning.deploy.graph import Graph, trace
from numclip_lightning.deploy.libraries import quiet
from numclip_lightning.deploy.parts import exportable, split_method
from numclip_lightning.deploy.translations import cumulative_minimum, translated
from numclip_lightning.methods import LinearProbe, NumCLIP, OrdinalMethod, RankingAwareCLIP
from support.predictors import KINDS, RECIPE, random_images, tiny_method


def one_of_each_family() -> Iterator[Any]:
    """Every method; all but one with logits over levels, one with thresholds and one with a cache are slow."""
    for kind in KINDS:
        fast = kind.__name__ in ("NumCLIP", "CORAL", "TipAdapter")
        yield pytest.param(kind, marks=() if fast else pytest.mark.slow, id=kind.__name__)


def test_there_are_methods() -> None:
    assert len(KINDS) >= 17


@pytest.mark.parametrize("kind", list(one_of_each_family()))
def test_what_follows_the_tower_leaves_as_a_graph_of_the_same_numbers(kind: type[OrdinalMethod]) -> None:
    method = tiny_method(kind)
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    encoder, decoder = split_method(method)
    images = torch.stack([RECIPE(pixels) for pixels in random_images(7)])
    with torch.no_grad():
        step = method.predict_step({"image": images, "index": torch.arange(7)}, 0)
        features = encoder(images)
    graph, weights = trace(decoder, features[:2])
    assert all(torch.equal(before[name], tensor) for name, tensor in method.state_dict().items())
    read = Graph(json.loads(json.dumps(graph)), weights)
    for size in (1, 7):
        value, probabilities, *_ = read(features[:size])
        torch.testing.assert_close(value, step.value[:size].float(), atol=1e-5, rtol=1e-6)
        torch.testing.assert_close(probabilities, step.probabilities[:size], atol=1e-5, rtol=1e-5)


def thresholds_first() -> Iterator[Any]:
    """Every method; all but the one with operations that ONNX does not know are slow."""
    for kind in KINDS:
        yield pytest.param(kind, marks=() if kind.__name__ == "CORAL" else pytest.mark.slow, id=kind.__name__)


@pytest.mark.parametrize("kind", list(thresholds_first()))
def test_what_follows_the_tower_leaves_as_onnx_of_the_same_numbers(kind: type[OrdinalMethod], tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    encoder, decoder = split_method(tiny_method(kind))
    with torch.no_grad():
        features = encoder(torch.stack([RECIPE(pixels) for pixels in random_images(3)]))
        expected = decoder(features)
    sizes = {0: torch.export.Dim("batch")}
    with exportable(), quiet():
        program = translated(torch.export.export(decoder, (features,), dynamic_shapes=(sizes,), strict=False))
        torch.onnx.export(program, (features,), str(tmp_path / "decoder.onnx"), external_data=False)
    session = runtime.InferenceSession(str(tmp_path / "decoder.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: features.numpy()})
    for name, one, other in zip(decoder.names, found, expected, strict=True):
        assert one == pytest.approx(other.numpy(), abs=1e-4), name


@pytest.mark.parametrize(("shape", "dim"), [((3, 60), 1), ((7,), 0), ((4, 5, 6), 1), ((2, 1), 1)])
def test_a_running_minimum_in_other_words_is_that_of_torch(shape: tuple[int, ...], dim: int) -> None:
    values = torch.randint(0, 9, shape).float()
    for one, other in zip(cumulative_minimum(values, dim), torch.cummin(values, dim), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", [NumCLIP, RankingAwareCLIP])
def test_a_folder_has_what_the_number_needs_and_no_text_tower(kind: type[OrdinalMethod], tmp_path: Path) -> None:
    method = tiny_method(kind)
    predictor = OrdinalPredictor.from_method(method, RECIPE)
    predictor.save_pretrained(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        names = list(file.keys())
    assert [name for name in names if ".clip.text." in name or ".prompts." in name] == []
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    tower = sum(p.numel() for p in method.clip.visual.parameters())
    assert tower * 0.9 < config["size"]["numbers"] < sum(p.numel() for p in method.parameters())

    loaded = OrdinalPredictor.load(tmp_path)
    images = random_images(7)
    for given in (images, images[:1]):
        found, expected = loaded(given), predictor(given)
        assert [one.value for one in found] == pytest.approx([one.value for one in expected], abs=1e-6 * 6)
    loaded.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_the_spread_is_that_of_the_distribution_over_the_values() -> None:
    method = tiny_method(LinearProbe)
    torch.nn.init.normal_(method.get_parameter("head.weight"))
    images = torch.stack([RECIPE(pixels) for pixels in random_images(3)])
    found = OrdinalPredictor.from_method(method, RECIPE).predict_tensors(images)
    with torch.no_grad():
        shares = method(images).logits.double().softmax(dim=1)
    for share, spread in zip(shares, found["spread"].tolist(), strict=True):
        mean = sum(p * v for v, p in enumerate(share.tolist()))
        assert spread == pytest.approx(sum(p * (v - mean) ** 2 for v, p in enumerate(share.tolist())) ** 0.5, abs=1e-4)
    assert "spread" not in OrdinalPredictor.from_method(tiny_method(RankingAwareCLIP), RECIPE).predict_tensors(images)

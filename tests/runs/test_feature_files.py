"""Features on disk serve every run with the same tower and images, and no other."""

import logging
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image

from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.methods import CoOp, LearningRates, LinearProbe
from numclip_lightning.runs.feature_files import read_features, write_features
from numclip_lightning.runs.features import KeepFeatures
from numclip_lightning.scale import OrdinalScale

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

SCALE = OrdinalScale(0, 9, levels=[{"phrase": "few", "start": 0}, {"phrase": "many", "start": 5}])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, number in (("train", 8), ("val", 4)):
        for index in range(number):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{name}{index}.png")
        (tmp_path / f"{name}.txt").write_text("".join(f"{name}{index}.png {index}\n" for index in range(number)))
    return tmp_path


def fit(
    folder: Path, *, keep: bool = True, kind: Any = CoOp, seed: int = 1, **arguments: Any
) -> tuple[int, dict[str, float]]:
    """Fit, and return how many images the tower has seen, and the metrics."""
    torch.manual_seed(seed)
    rates = LearningRates(image_encoder=0, adapter=0, context=2e-3, phrases=0, head=1e-2)
    own = {"names": "phrases", "num_context": 4, "learning_rates": rates} if kind is CoOp else {}
    method = kind(scale=SCALE, backbone="tiny-vit", pretrained=None, **own)
    seen = []
    method.clip.visual.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    data = ListDataModule(
        root=str(folder), train_file="train.txt", val_file="val.txt", image_size=32, num_workers=0, augment=False,
        batch_size=4, **arguments,
    )  # fmt: skip
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, max_epochs=2,
        enable_model_summary=False, callbacks=[KeepFeatures(folder=str(folder / "kept") if keep else None)],
    )  # fmt: skip
    trainer.fit(method, datamodule=data)
    return sum(seen), {name: value.item() for name, value in trainer.callback_metrics.items()}


def test_the_second_run_encodes_nothing_and_ends_the_same(folder: Path) -> None:
    plain, first, second = fit(folder, keep=False), fit(folder), fit(folder)
    assert [plain[0], first[0], second[0]] == [12, 12, 0]
    assert plain[1] == first[1] == second[1]


def test_no_image_is_decoded_in_advance_where_the_features_are_kept(folder: Path) -> None:
    pixels = folder / "pixels"
    first = fit(folder, cache="disk", cache_folder=str(pixels))
    assert len(list(pixels.iterdir())) >= 2
    again = fit(folder, cache="disk", cache_folder=str(folder / "none"))
    assert again == (0, first[1])
    assert not (folder / "none").exists()


def test_another_method_with_the_same_tower_shares_them(folder: Path) -> None:
    fit(folder)
    assert fit(folder, kind=LinearProbe)[0] == 0


@pytest.mark.parametrize("change", ["tower", "file", "normalize"])
def test_what_features_depend_on_makes_others(folder: Path, change: str) -> None:
    fit(folder)
    if change == "file":
        Image.new("RGB", (32, 32), "red").save(folder / "train3.png")
    other: dict[str, Any] = {"normalize": "half"} if change == "normalize" else {}
    seen = fit(folder, seed=2 if change == "tower" else 1, **other)[0]
    assert seen == (8 if change == "file" else 12)


def test_a_damaged_file_is_encoded_again(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    fit(folder)
    files = sorted((folder / "kept").glob("*.safetensors"))
    assert len(files) == 2
    content = bytearray(files[0].read_bytes())
    content[-3] ^= 255
    files[0].write_bytes(content)
    files[1].write_bytes(files[1].read_bytes()[:50])
    with caplog.at_level(logging.WARNING):
        assert fit(folder)[0] == 12
    assert "is damaged" in caplog.text
    assert "can't be read" in caplog.text
    assert fit(folder)[0] == 0
    assert not list((folder / "kept").glob("*.part"))


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux says what memory is of files")
def test_processes_share_the_memory_of_a_file(tmp_path: Path) -> None:
    def own_bytes() -> int:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))

    written = torch.arange(4_000_000, dtype=torch.float32).view(-1, 100)
    write_features(tmp_path / "x.safetensors", written, {})
    before = own_bytes()
    features = read_features(tmp_path / "x.safetensors", len(written))
    assert features is not None
    assert torch.equal(features, written)
    assert own_bytes() - before < written.nbytes / 4

"""Features that the user brings: CSV, .npz, .npy for each list or each object; heads on them from fit to predict."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from numclip_lightning.cli import main
from numclip_lightning.data.features import FeatureListDataModule
from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.methods.zero_shot import ZeroShotCLIP
from support.command import failure, metrics_of, rows_of
from support.tiny_fit import TINY

N = 60
TRAIN = 44
RANDOM = np.random.default_rng(0)
TARGETS = np.arange(N) % 7
# Five numbers that follow the target, the first in thousands.
ROWS = np.stack([TARGETS * w + RANDOM.normal(0, 0.05, N) for w in (1000.0, -1.0, 0.3, 2.0, 0.0)], axis=1)
NAMES = [f"star-{i}" for i in range(N)]


def write_lists(folder: Path, names: list[str] = NAMES) -> dict[str, Any]:
    for file, start, end in (("train.csv", 0, TRAIN), ("test.csv", TRAIN, N)):
        lines = [f"{names[i]},{TARGETS[i]}" for i in range(start, end)]
        (folder / file).write_text("\n".join(["path,target", *lines]) + "\n")
    return {"root": str(folder), "train_file": "train.csv", "test_file": "test.csv", "num_workers": 0}


def write_table(folder: Path) -> Path:
    head = ["path", *"abcde"]
    # In another order than the lists.
    lines = [",".join([NAMES[i], *map(str, ROWS[i])]) for i in reversed(range(N))]
    (folder / "stars.csv").write_text("\n".join([",".join(head), *lines]) + "\n")
    return folder / "stars.csv"


def test_every_way_to_bring_vectors_gives_those_of_the_list(tmp_path: Path) -> None:
    lists = write_lists(tmp_path)
    write_table(tmp_path)
    np.savez(tmp_path / "stars.npz", path=NAMES, features=ROWS)
    np.save(tmp_path / "train.npy", ROWS[:TRAIN])
    np.save(tmp_path / "test.npy", ROWS[TRAIN:])
    each = tmp_path / "each"
    each.mkdir()
    for name, row in zip(NAMES, ROWS, strict=True):
        np.save(each / f"{name}.npy", row)
    ways: list[Any] = ["stars.csv", "stars.npz", {"train": "train.npy", "test": "test.npy"}]
    modules = [FeatureListDataModule(**lists, features=way) for way in ways]
    modules.append(FeatureListDataModule(**write_lists(each, [f"{name}.npy" for name in NAMES])))
    for module in modules:
        for split in ("train", "val", "test"):
            lines = [NAMES.index(label.path.removesuffix(".npy")) for label in module.labels(split)]
            found = module.vectors(split)
            np.testing.assert_allclose(found, ROWS[lines], rtol=1e-6)
    batch = next(iter(modules[0].test_dataloader()))
    assert set(batch) == {"features", "target", "index"}


def test_numbers_are_standardised_by_the_training_part(tmp_path: Path) -> None:
    write_table(tmp_path)
    module = FeatureListDataModule(**write_lists(tmp_path), features="stars.csv", standardize=True)
    train = module.vectors("train")
    torch.testing.assert_close(train.mean(dim=0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(train.std(dim=0, correction=0), torch.ones(5), atol=1e-4, rtol=0)
    lines = [NAMES.index(label.path) for label in module.labels("train")]
    expected = (ROWS[TRAIN:] - ROWS[lines].mean(axis=0)) / ROWS[lines].std(axis=0)
    np.testing.assert_allclose(module.vectors("test"), expected, atol=1e-4)


def test_heads_learn_from_vectors_from_fit_to_predict(tmp_path: Path) -> None:
    table, data = write_table(tmp_path), write_lists(tmp_path)
    words = [
        "--model=LinearProbe", "--model.scale={minimum: 0, maximum: 6}", "--model.backbone=features:5",
        "--data=FeatureListDataModule", f"--data.features={table}", "--data.standardize=true",
        *(f"--data.{name}={value}" for name, value in data.items()), "--data.val_fraction=0.3",
        "--trainer.accelerator=cpu", "--trainer.logger=false", "--trainer.enable_progress_bar=false",
        f"--trainer.default_root_dir={tmp_path / 'runs'}",
    ]  # fmt: skip
    assert main(["fit", *words, "--trainer.max_epochs=1", "--test_after_fit=true", "--report=false"]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert metrics_of(run)["test_mae"] < 0.7, "guessing the median costs 1.7"
    (tmp_path / "new.csv").write_text("path\n" + "\n".join(NAMES[TRAIN:]) + "\n")
    best = run / "checkpoints" / "best.ckpt"
    again = ["predict", "--config", str(run / "config.yaml"), f"--ckpt_path={best}", "--data.predict_path=new.csv"]
    assert main(again) == 0
    (predicted,) = [folder for folder in (tmp_path / "runs").iterdir() if folder != run]
    found, expected = (
        [float(row["value"]) for row in rows_of(file)]
        for file in (predicted / "predictions.csv", run / "test_predictions.csv")
    )
    assert found == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
def test_features_of_a_clip_that_are_kept_in_a_file_give_its_predictions(tmp_path: Path) -> None:
    method = ZeroShotCLIP(**TINY).eval()
    images = torch.randn(N - TRAIN, 3, 32, 32)
    np.savez(tmp_path / "clip.npz", path=NAMES[TRAIN:], features=method.encode_images(images).numpy())
    data = FeatureListDataModule(**write_lists(tmp_path), features="clip.npz", batch_size=N)
    (batch,) = data.test_dataloader()
    found, expected = method.predict_step(batch, 0), method.predict_step({**batch, "image": images}, 0)
    assert "image" not in batch
    assert torch.equal(found.value, method(images).value)
    assert torch.equal(found.probabilities, expected.probabilities)


def test_what_the_method_can_not_take_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, data = write_table(tmp_path), write_lists(tmp_path)
    words = ["--model.scale={minimum: 0, maximum: 6}", "--data=FeatureListDataModule",
             f"--data.features={table}", *(f"--data.{name}={value}" for name, value in data.items()),
             "--trainer.logger=false", f"--trainer.default_root_dir={tmp_path / 'runs'}"]  # fmt: skip
    assert failure("fit", "--model=CORAL", *words, "--model.backbone=features:7") == 2
    assert "vectors of the shape (5,), but CORAL with backbone=features:7 takes (7,)" in capsys.readouterr().err
    assert failure("fit", "--model=CoOp", *words, "--model.backbone=features:5") == 2
    assert "has no text tower; take a method without language" in capsys.readouterr().err
    assert failure("fit", "--model=CORAL", *words, "--model.backbone=mini", "--model.pretrained=null") == 2
    assert "nothing can train it; set model.learning_rates.image_encoder=0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("star-3,1,2,x,4,5", "stars.csv:61: c is 'x', which is no finite number"),
        ("star-3,1,2", "stars.csv:61: 3 cells under 6 headings"),
        ("\n\nstar-3,1,2", "stars.csv:63: 3 cells under 6 headings"),
        ("star-0,1,2,3,4,5", "'star-0' is there twice"),
    ],
)
def test_bad_tables_are_named_by_line(change: str, message: str, tmp_path: Path) -> None:
    table = write_table(tmp_path)
    lines = table.read_text().splitlines()
    lines = [line for line in lines if not line.startswith("star-3,")]
    table.write_text("\n".join([*lines, change]) + "\n")
    module = FeatureListDataModule(**write_lists(tmp_path), features="stars.csv")
    with pytest.raises(DataError, match=message):
        module.vectors("train")


def test_a_missing_vector_and_unnamed_arrays_are_refused(tmp_path: Path) -> None:
    lists = write_lists(tmp_path)
    np.savez(tmp_path / "stars.npz", path=NAMES[1:], features=ROWS[1:])
    with pytest.raises(DataError, match=r"train.csv:2: stars.npz has no vector of 'star-0'"):
        FeatureListDataModule(**{**lists, "val_file": "test.csv", "test_file": None}, features="stars.npz").vectors(
            "train"
        )
    with pytest.raises(ConfigError, match="say which list it is of"):
        FeatureListDataModule(**lists, features="train.npy")
    np.save(tmp_path / "train.npy", ROWS[:9])
    with pytest.raises(DataError, match=r"train.npy has 9 vectors, but its list, train, has 44 entries"):
        FeatureListDataModule(**lists, features={"train": "train.npy"}).vectors("train")

"""Short fits of every method, kept and compared: whether a change of the code has changed a result.

    python scripts/compare_results.py keep FOLDER      # 20 steps of every overlay on counting, of some on faces
    python scripts/compare_results.py compare OLD NEW  # a row for each fit; exit code 1 if one differs

`keep` runs with the package that Python finds, so that two checkouts can be compared. What is compared are all metrics,
all weights of the last checkpoint (bit for bit, whatever their names) and the predictions as written.
"""

import csv
import json
import math
import sys
from pathlib import Path

import torch
import yaml

REPOSITORY = Path(__file__).parents[1]
FACES = REPOSITORY.parent / "shared" / "data" / "faces"
ON_FACES = ("cosine", "l1", "coral", "corn", "sord", "mean_variance")
STEPS = ("--trainer.max_epochs=1", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
         "--trainer.accelerator=cpu", "--data.batch_size=32", "--data.num_workers=0", "--seed_everything=7",
         "--data.seed=7")  # fmt: skip
COUNTING = ("--config=configs/counting.yaml", "--data.num_train=640", "--data.num_val=128", "--data.num_test=256")
ON_THE_FACES = ("--config=configs/faces_mini.yaml", "--trainer.limit_train_batches=20", "--data.check_images=none")


def fits() -> dict[str, list[str]]:
    """Return the words of every fit by its name; a method that learns nothing is tested."""
    overlays = {file.stem: [f"--config=configs/methods/{file.name}"] for file in REPOSITORY.glob("configs/methods/*")}
    found = {f"counting-{name}": [*COUNTING, *words] for name, words in {"numclip": [], **overlays}.items()}
    if FACES.is_dir():
        found["faces-numclip"] = [*ON_THE_FACES]
        found.update({f"faces-{name}": [*ON_THE_FACES, *overlays[name]] for name in ON_FACES})
    return {name: _verb(words) for name, words in found.items()}


def _verb(words: list[str]) -> list[str]:
    overlays = [
        yaml.safe_load((REPOSITORY / word.partition("=")[2]).read_text()) for word in words if "--config" in word
    ]
    if overlays[-1]["model"]["class_path"] == "ZeroShotCLIP":
        return ["test", *words, *STEPS]
    return ["fit", *words, *STEPS, "--test_after_fit=true"]


def keep(folder: Path) -> None:
    """Run every fit into a folder of its own."""
    from numclip_lightning.cli import main

    torch.set_num_threads(1)
    for name, words in sorted(fits().items()):
        if main([*words, f"--trainer.default_root_dir={folder / name}"]):
            print(f"{name} has failed")


def compare(old: Path, new: Path) -> bool:
    """Print a row for each fit; return whether all are equal."""
    names = sorted(path.name for path in old.iterdir())
    print(f"{'fit':30} {'test_mae':>20} {'metrics':>9} {'weights':>9} {'predictions':>12}")
    equal = True
    for name in names:
        before, after = (next((root / name).glob("20*")) for root in (old, new))
        same = {"metrics": _metrics(before) == _metrics(after), "weights": _weights(before, after),
                "predictions": _predictions(before) == _predictions(after)}  # fmt: skip
        mae = _metrics(before)["test_mae"]
        print(f"{name:30} {mae:20.15g} " + " ".join(f"{'equal' if ok else 'DIFFER':>9}" for ok in same.values()))
        for key, (first, second) in _differing(_metrics(before), _metrics(after)).items():
            print(f"    {key}: {first!r} and {second!r}")
        equal &= all(same.values())
    return equal


def _metrics(run: Path) -> dict[str, float]:
    found = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return {key: value for key, value in found.items() if isinstance(value, float)}


def _differing(before: dict[str, float], after: dict[str, float]) -> dict[str, tuple[float, float]]:
    keys = sorted(before.keys() | after.keys())
    pairs = {key: (before.get(key, math.nan), after.get(key, math.nan)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _weights(before: Path, after: Path) -> bool:
    """Tell whether the last checkpoints hold the same tensors, whatever they are called."""

    def tensors(run: Path) -> list[bytes]:
        file = run / "checkpoints" / "last.ckpt"
        if not file.exists():
            return []
        state = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
        return sorted(tensor.contiguous().numpy().tobytes() for tensor in state.values())

    return tensors(before) == tensors(after)


def _predictions(run: Path) -> list[list[str]]:
    """Return the rows of the file, without its heading, whose columns were renamed."""
    with (run / "test_predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


if __name__ == "__main__":
    if sys.argv[1] == "keep":
        keep(Path(sys.argv[2]))
    else:
        sys.exit(not compare(Path(sys.argv[2]), Path(sys.argv[3])))

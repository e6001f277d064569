"""Time the frozen and solved methods on features that are on disk: seconds of a processor for a fit and test.

python scripts/time_features.py                    # 10,000 scenes of the counting generator, as image files
python scripts/time_features.py --images 2000
"""

import argparse
import contextlib
import io
import logging
import os
import re
import tempfile
import time
import warnings
from pathlib import Path

import cv2
import yaml

from numclip_lightning.cli import main
from numclip_lightning.data.counting.scenes import Stream, draw_counts, make_scenes, paint

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
METHODS = ("linear_probe", "gda", "tip_adapter", "caps_adapter", "rank_axis", "zero_shot", "coop")
_SHARES: dict[Stream, float] = {"train": 0.8, "val": 0.1, "test": 0.1}


def write_scenes(folder: Path, images: int) -> None:
    """Write scenes as image files, and their lists.

    Args:
        folder: An existing folder.
        images: How many there are in all splits.
    """
    for split, share in _SHARES.items():
        counts = draw_counts(0, split, round(images * share))
        lines = []
        for index, (scene, count) in enumerate(
            zip(make_scenes(0, split, range(len(counts)), counts), counts, strict=True)
        ):
            cv2.imwrite(str(folder / f"{split}{index:05d}.png"), paint(scene)[..., ::-1])
            lines.append(f"{split}{index:05d}.png,{count}\n")
        (folder / f"{split}.csv").write_text("path,count\n" + "".join(lines), encoding="utf-8")


def run(*words: str) -> tuple[float, str]:
    """Run a verb in this process; return its seconds of a processor and what it printed.

    Args:
        *words: Its words.
    """
    # Of the processor: on a busy machine the clock would measure others.
    said, start = io.StringIO(), time.process_time()
    with contextlib.redirect_stdout(said):
        code = main(words)
    if code:
        raise SystemExit(f"{' '.join(words)} ended with {code}")
    return time.process_time() - start, said.getvalue()


def measure(images: int) -> None:
    """Print the table.

    Args:
        images: How many there are in all splits.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scenes(folder, images)
        base = yaml.safe_load((CONFIGS / "counting.yaml").read_text(encoding="utf-8"))
        base["data"] = {
            "class_path": "ListDataModule",
            "init_args": {"root": name, **{f"{split}_file": f"{split}.csv" for split in _SHARES}, "augment": False,
                          "check_images": "header", "batch_size": 64, "num_workers": 0},
        }  # fmt: skip
        base["trainer"] = {"max_epochs": 1, "default_root_dir": str(folder / "runs"), "enable_progress_bar": False,
                           "enable_model_summary": False, "accelerator": "cpu"}  # fmt: skip
        (folder / "base.yaml").write_text(yaml.safe_dump(base), encoding="utf-8")
        words = ["--config", str(folder / "base.yaml")]
        kept = f"--features.folder={folder / 'features'}"
        probe = ["--config", str(CONFIGS / "methods" / "linear_probe.yaml")]
        seconds, _ = run("features", *words, *probe, f"--folder={folder / 'features'}")
        print(f"| features of {images:,} images, once | {seconds:.1f} | |", flush=True)
        for method in METHODS:
            overlay = ["--config", str(CONFIGS / "methods" / f"{method}.yaml")]
            verb = ["test"] if method == "zero_shot" else ["fit", "--test_after_fit=true"]
            seconds, said = run(*verb, *words, *overlay, kept, "--data.augment=false", "--report=false")
            error = re.findall(r"test_mae\D*([\d.]+)", said)
            print(f"| {method} | {seconds:.1f} | {error[-1] if error else ''} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    os.environ.setdefault("WANDB_MODE", "offline")
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    print("| what | CPU seconds | test MAE |\n| --- | ---: | ---: |", flush=True)
    measure(parser.parse_args().images)

"""Predict a list of images with Ray Data: on one machine, or on a cluster that Ray knows.

    pip install 'numclip-lightning[ray]'
    python scripts/predict_ray.py --model exported --list images.csv --root /data --output rows --workers 2

Each worker loads the model once, and takes the next block when it is free; the block of a worker that has died
is given to another. Rows are Parquet files, with the columns of `numclip predict` and `reason`, which says why an image
has no number. The list is done in parts: a part with a file `_SUCCESS` is not done again, so that the same command goes
on after the whole cluster has gone.
"""

import argparse
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import ray

from numclip_lightning.data.base.labels import read_labels
from numclip_lightning.deploy import OrdinalPredictor


class Reader:
    """A worker with a model.

    Args:
        model: What `OrdinalPredictor.load` takes.
        root: The folder that paths are relative to.
        batch_size: Images at once.
    """

    def __init__(self, model: str, root: str, batch_size: int) -> None:
        device = "cuda" if ray.get_gpu_ids() else "cpu"
        self._predictor = OrdinalPredictor.load(model, device=device, batch_size=batch_size)
        self._root = root

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Return the columns of a block of images.

        Args:
            batch: `path` and `index` of each image, (B,).
        """
        paths = [os.path.join(self._root, path) for path in batch["path"]]  # noqa: PTH118  # root may be a URL one day
        found = self._predictor(paths, on_error="skip")
        rows = {one.source: one.to_row() for one in found}
        names = list(next(iter(rows.values()))) if rows else ["path", "value"]
        columns: dict[str, list[Any]] = {"index": list(batch["index"])}
        for name in names:
            columns[name] = [rows.get(path, {}).get(name) for path in paths]
        columns["path"] = list(batch["path"])
        columns["reason"] = [found.skipped.get(path) for path in paths]
        return columns


def parts_of(paths: Iterable[str], size: int) -> Iterator[list[dict[str, Any]]]:
    """Yield a list in parts, an entry as `path` and `index`.

    Args:
        paths: The list.
        size: Entries of a part.
    """
    entries = ({"path": path, "index": index} for index, path in enumerate(paths))
    while part := list(islice(entries, size)):
        yield part


def predict(given: argparse.Namespace) -> int:
    """Predict what is not done yet; return how many parts were."""
    labels, done = read_labels(given.list, labelled=False), 0
    paths = labels.columns.paths if labels.columns else [label.path for label in labels]
    for number, part in enumerate(parts_of(paths, given.part)):
        place = Path(given.output) / f"part-{number:05d}"
        if (place / "_SUCCESS").is_file():
            continue
        for left in place.glob("*.parquet"):
            # Of a cluster that has gone within this part.
            left.unlink()
        ray.data.from_items(part, override_num_blocks=max(given.workers * 4, len(part) // given.block)).map_batches(
            Reader,
            fn_constructor_args=(given.model, given.root, given.batch_size),
            batch_size=given.block,
            concurrency=given.workers,
            num_gpus=given.gpus,
        ).write_parquet(str(place))
        (place / "_SUCCESS").touch()
        done += 1
    return done


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="an exported folder, a run, a checkpoint, or mini")
    parser.add_argument("--list", required=True, help="a list with or without numbers")
    parser.add_argument("--root", default=".", help="the folder that the paths are relative to")
    parser.add_argument("--output", required=True, help="the folder of the rows")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gpus", type=float, default=0, help="of a worker: 1, or 0 for a CPU")
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--block", type=int, default=2_048, help="images that a worker takes at once")
    parser.add_argument("--part", type=int, default=1_000_000, help="images between two marks of progress")
    print(f"{predict(parser.parse_args())} parts predicted")

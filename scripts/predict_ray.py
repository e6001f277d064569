"""Predict a list of images with Ray Data: on one machine, or on a cluster that Ray knows.

    pip install 'numclip-lightning[ray]'
    python scripts/predict_ray.py --model exported --list images.csv --root /data --output rows --workers 2

Each worker loads the model once, and takes the next block when it is free; the block of a worker that has died
is given to another. Rows are Parquet files, with the columns of `numclip predict`, `index`, the place in the list, and
`reason`, which says why an image has no number. The list is done in parts: a part with a file `_SUCCESS` is not done
again, so that the same command goes on after the whole cluster has gone. Another model or list is refused.
"""

import argparse
import hashlib
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from numclip_lightning.data.base.labels import read_labels
from numclip_lightning.deploy import OrdinalPredictor
from numclip_lightning.deploy.writing import identity_of
from numclip_lightning.shards import ShardFolder


class Reader:
    """A worker with a model.

    Args:
        model: What `OrdinalPredictor.load` takes.
        root: The folder that paths are relative to.
        batch_size: Images at once.
        device: `cuda` or `cpu`.
    """

    def __init__(self, model: str, root: str, batch_size: int, device: str) -> None:
        self._predictor = OrdinalPredictor.load(model, device=device, batch_size=batch_size)
        self._root = root
        # One schema for all blocks, also for those without any image that can be read: they are one table.
        row = self._predictor(np.zeros((64, 64, 3), dtype=np.uint8)).to_row()
        numbers = [(name, pa.string() if isinstance(cell, str) else pa.float32()) for name, cell in row.items()]
        self._schema = pa.schema([("index", pa.int64()), *numbers, ("reason", pa.string())])

    def __call__(self, batch: dict[str, Any]) -> pa.Table:
        """Return the rows of a block of images.

        Args:
            batch: `path` and `index` of each image, (B,).
        """
        paths = [os.path.join(self._root, path) for path in batch["path"]]  # noqa: PTH118  # root may be a URL one day
        found = self._predictor(paths, on_error="skip")
        rows = {one.source: one.to_row() for one in found}
        columns = {name: [rows.get(path, {}).get(name) for path in paths] for name in self._schema.names}
        columns |= {"index": list(batch["index"]), "path": [str(path) for path in batch["path"]]}
        columns["reason"] = [found.skipped.get(path) for path in paths]
        return pa.table(columns, schema=self._schema)


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
    """Predict what is not done yet; return how many parts were.

    Args:
        given: The arguments of the command.

    Raises:
        ConfigError: If the folder holds rows of another model or list, or another command writes into it.
    """
    labels = read_labels(given.list, labelled=False)
    paths = labels.columns.paths if labels.columns else [label.path for label in labels]
    listed = hashlib.sha256()
    for path in paths:
        listed.update(path.encode("utf-8", "surrogateescape") + b"\0")
    folder = ShardFolder(Path(given.output))
    whole = {"list of images": [len(labels), listed.hexdigest(), given.root], "number of images in a part": given.part}
    folder.open({**identity_of(OrdinalPredictor.load(given.model, device="cpu")), **whole}, None)
    try:
        return sum(_predict_part(given, number, part) for number, part in enumerate(parts_of(paths, given.part)))
    finally:
        folder.close()


def _predict_part(given: argparse.Namespace, number: int, part: list[dict[str, Any]]) -> bool:
    """Predict a part, and return whether it was not done yet."""
    import ray

    place = Path(given.output) / f"part-{number:05d}"
    if (place / "_SUCCESS").is_file():
        return False
    for left in place.glob("*.parquet"):
        # Of a cluster that has gone within this part.
        left.unlink()
    if not ray.is_initialized():
        ray.init()
    # A core is left for writing: on a machine where workers take all, nothing would ever be written.
    cores = max(0.0, ray.cluster_resources().get("CPU", 1.0) - 1)
    images = ray.data.from_items(part, override_num_blocks=max(given.workers * 4, len(part) // given.block))
    images.map_batches(
        Reader,
        fn_constructor_args=(given.model, given.root, given.batch_size, "cuda" if given.gpus else "cpu"),
        batch_size=given.block,
        compute=ray.data.ActorPoolStrategy(size=given.workers),
        num_cpus=min(1.0, cores / given.workers),
        num_gpus=given.gpus,
    ).write_parquet(str(place))
    (place / "_SUCCESS").touch()
    return True


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

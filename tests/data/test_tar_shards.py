"""Images in tar shards are the images of the lists they were packed from: same samples, each once an epoch."""

import io
import json
import os
import shutil
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from numclip_lightning.cli import main
from numclip_lightning.data.base.sampling import ShardSampler
from numclip_lightning.data.base.tar_index import index_shard, write_index
from numclip_lightning.data.base.tar_store import TarStore
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.data.shards import ShardDataModule
from numclip_lightning.errors import ConfigError, DataError, MissingListError
from support.command import SIZES, TINY, Numclip, failure


@pytest.fixture(scope="module")
def packed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    assert main(["shards", *words_of(data), f"--output={folder}", "--shard_size=6"]) == 0
    return folder


def words_of(data: Path) -> list[str]:
    return ["--data=ListDataModule", f"--data.root={data}", *(f"--data.{split}_file={split}.txt" for split in SIZES)]


def module(packed: Path | str, **arguments: Any) -> ShardDataModule:
    shards = {
        f"{split}_shards": f"{packed}/{split}-{{000000..{-(-size // 6) - 1:06d}}}.tar" for split, size in SIZES.items()
    }
    return ShardDataModule(**{**shards, "image_size": 32, "num_workers": 0, "batch_size": 4, **arguments})


def test_samples_are_those_of_the_lists(data: Path, packed: Path, tmp_path: Path) -> None:
    files: dict[str, Any] = {f"{split}_file": f"{split}.txt" for split in SIZES}
    lists = ListDataModule(root=str(data), **files, image_size=32, num_workers=0)
    shards = module(packed, shard_folder=str(tmp_path))
    shards.setup("fit")
    for split in ("val", "test"):
        expected, found = lists.dataset(split), shards.dataset(split)
        assert [label.path for label in shards.labels(split)] == [label.path for label in lists.labels(split)]
        assert len(found) == SIZES[split]
        for one, other in zip(expected, found, strict=True):  # type: ignore[call-overload]
            assert one.keys() == other.keys()
            for name in one:
                assert torch.equal(one[name], other[name]), name
    assert not list(tmp_path.iterdir()), "the index beside each shard is enough"


def test_an_epoch_has_every_image_once_and_few_shards_at_a_time() -> None:
    sizes, window = [5, 3, 4, 2, 6, 1, 7], 2
    ends = np.cumsum(sizes)
    whole = ShardSampler(range(28), sizes, window, seed=3)
    first, second = ([draw.index for draw in whole] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(28))
    assert first != second
    shards = np.searchsorted(ends, first, side="right").tolist()
    seen = [shard for place, shard in enumerate(shards) if shard not in shards[:place]]
    for start in range(0, 7, window):
        group = set(seen[start : start + window])
        places = [place for place, shard in enumerate(shards) if shard in group]
        assert places == list(range(places[0], places[-1] + 1))
    processes = [[draw.index for draw in ShardSampler(range(28), sizes, window, 3, 4, rank)] for rank in range(4)]
    assert [index for row in zip(*processes, strict=True) for index in row] == first
    resumed = ShardSampler(range(28), sizes, window, 3, 4, 1)
    resumed.start = 3
    assert [draw.index for draw in resumed] == processes[1][3:]


@pytest.mark.slow
def test_a_fit_a_test_and_a_prediction(packed: Path, numclip: Numclip, tmp_path: Path) -> None:
    shards = [
        f"--data.{split}_shards={packed}/{split}-{{000000..{-(-n // 6) - 1:06d}}}.tar" for split, n in SIZES.items()
    ]
    model = [word for word in numclip.flags if word.startswith("--model")]
    words = [*model, "--data=ShardDataModule", *shards, *TINY, *numclip.small, "--data.batch_size=8"]
    fit = numclip.plain("fit", *words, "--trainer.max_epochs=1", "--test_after_fit=true")
    assert json.loads((fit / "metrics.json").read_text(encoding="utf-8"))["test_mae"] > 0
    rows = numclip.plain("predict", *words, "--ckpt_path", str(fit / "checkpoints" / "best.ckpt"))
    lines = (rows / "predictions.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [f"test_{number:03d}.png" for number in range(SIZES["test"])]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]


def test_remote_shards_are_fetched_once_within_a_bound(packed: Path, tmp_path: Path) -> None:
    served = tmp_path / "served"
    shutil.copytree(packed, served)
    (served / "test-000001.tar.index.npz").unlink()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    server.asked = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        remote = module(url, shard_folder=str(tmp_path / "kept"))
        local = module(packed, shard_folder=str(tmp_path / "other"))
        found = remote.dataset("test")
        assert server.asked.count("/test-000000.tar") == 0  # type: ignore[attr-defined]
        for index in (0, 16, 7, 1):
            assert torch.equal(found[index]["image"], local.dataset("test")[index]["image"])
        asked = [path for path in server.asked if path.endswith(".tar")]  # type: ignore[attr-defined]
        assert sorted(asked) == ["/test-000000.tar", "/test-000001.tar", "/test-000002.tar"]
        bounded = module(url, shard_folder=str(tmp_path / "small"), shard_gigabytes=1e-6).dataset("test")
        for index in (0, 7, 16, 0):
            assert bounded[index]["target"] == local.dataset("test")[index]["target"]
        assert len(list((tmp_path / "small" / "shards").iterdir())) == 1
        with pytest.raises(DataError, match=r"train-000009\.tar can't be fetched"):
            module(url, train_shards=f"{url}/train-000009.tar", shard_folder=str(tmp_path / "none")).labels("train")
    finally:
        server.shutdown()
        server.server_close()


def tar(place: Path, **members: bytes | str) -> str:
    with tarfile.open(place, "w") as file:
        for name, content in members.items():
            encoded = content if isinstance(content, bytes) else content.encode()
            member = tarfile.TarInfo(name.replace("__", "."))
            member.size = len(encoded)
            file.addfile(member, io.BytesIO(encoded))
    return str(place)


def labels(place: str, folder: Path, **arguments: Any) -> list[tuple[str, float]]:
    found = ShardDataModule(test_shards=place, shard_folder=str(folder), **arguments).labels("test")
    return [(label.path, label.target) for label in found]


def test_strangers_shards_and_bad_ones(data: Path, tmp_path: Path) -> None:
    image = (data / "test_000.png").read_bytes()
    kept = tmp_path / "kept"
    place = tar(tmp_path / "a.tar", x__png=image, x__cls="3", y__txt="4.5", y__PNG=image, z__md="-")
    assert labels(place, kept) == [("x.png", 3.0), ("y.PNG", 4.5)]
    # What was kept of a shard that has changed is not used.
    place = tar(tmp_path / "a.tar", x__png=image, x__json='{"age": 31, "path": "p/1.png"}')
    assert labels(place, kept, target="age") == [("p/1.png", 31.0)]
    for members, message in (
        ({"x__png": image}, "has no numbers below 'target'"),
        ({"x__png": image, "x__cls": "1", "y__png": image}, "y.png has no number, but others have"),
        ({"x__png": image, "x__cls": "many"}, "b.tar: x"),
        ({"x__png": image, "x__jpg": image}, "x has several images"),
        ({"x__png": image, "x__json": "{"}, "is no JSON"),
        ({"x__txt": "1"}, "has no images"),
    ):
        with pytest.raises(DataError, match=message):
            labels(tar(tmp_path / "b.tar", **members), kept)
    (tmp_path / "b.tar").write_bytes(b"torn" * 400)
    with pytest.raises(DataError, match="can't be read as a plain tar"):
        labels(str(tmp_path / "b.tar"), kept)
    with pytest.raises(DataError, match="No such file"):
        labels(str(tmp_path / "none.tar"), kept)
    whole = tar(tmp_path / "c.tar", x__png=b"no image", x__cls="1")
    with pytest.raises(DataError, match=r"c\.tar: x\.png: can't read the image"):
        ShardDataModule(test_shards=whole, shard_folder=str(kept)).dataset("test")[0]


def test_what_shards_can_not_do_is_refused(
    packed: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="shards are used whole"):
        module(packed, num_shots=1)
    with pytest.raises(MissingListError, match=r"no val shards; give data\.val_shards"):
        ShardDataModule(train_shards=f"{packed}/train-000000.tar").setup("fit")
    with pytest.raises(DataError, match="is a train shard and a test shard"):
        module(packed, test_shards=f"{packed}/train-000000.tar").setup("test")
    with pytest.raises(ConfigError, match=r"names .*train-000000\.tar twice"):
        module(packed, train_shards=f"{packed}/train-000000.tar::{packed}/train-000000.tar").labels("train")
    with pytest.raises(DataError, match=r"has no \.tar files"):
        module(packed, train_shards=str(data)).labels("train")
    assert failure("shards", "--data=CountingDataModule", f"--output={tmp_path}") == 2
    assert "has no image files to pack" in capsys.readouterr().err


def test_packing_goes_on_where_it_was_stopped(data: Path, packed: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(packed, again)
    (again / "val-000001.tar").write_bytes(b"torn")
    (again / "val-000001.tar.index.npz").unlink()
    before = (again / "val-000000.tar").stat().st_mtime_ns
    assert main(["shards", *words_of(data), f"--output={again}", "--shard_size=6"]) == 0
    assert (again / "val-000000.tar").stat().st_mtime_ns == before
    assert len(module(again).dataset("val")) == SIZES["val"]
    assert not list(again.glob("*.part"))


def test_shards_have_the_images_that_can_be_read(data: Path, tmp_path: Path) -> None:
    own, packed = tmp_path / "own", tmp_path / "packed"
    shutil.copytree(data, own)
    for name in ("train_001.png", "test_002.png"):
        (own / name).write_bytes(b"")
    words = ["--data.on_bad_image=skip", f"--output={packed}", "--shard_size=6"]
    assert main(["shards", *words_of(own), *words]) == 0
    for split, missed in (("train", "train_001.png"), ("val", ""), ("test", "test_002.png")):
        names = [f"{split}_{place:03d}.png" for place in range(SIZES[split])]
        found = [label.path for label in module(packed).labels(split)]  # type: ignore[arg-type]
        assert found == [name for name in names if name != missed]


def test_shards_of_other_data_are_not_taken_for_packed(
    data: Path, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again, own = tmp_path / "again", tmp_path / "own"
    shutil.copytree(packed, again)
    shutil.copytree(data, own)

    def refused(place: Path, *words: str, size: int = 6) -> str:
        capsys.readouterr()
        assert failure("shards", *words_of(place), *words, f"--output={again}", f"--shard_size={size}") == 2
        return capsys.readouterr().err

    assert "train-000000.tar has 6 images where there would be 5: it was packed from other data" in refused(
        data, size=5
    )
    assert "in the place of val_000.png" in refused(data, "--data.train_file=val.txt", "--data.val_file=train.txt")
    text = (own / "train.txt").read_text(encoding="utf-8")
    first = text.splitlines()[0]
    (own / "train.txt").write_text(text.replace(first, f"{first.split()[0]} 29"), encoding="utf-8")
    assert f"has another number for {first.split()[0]} than" in refused(own)
    (own / "train.txt").write_text(text, encoding="utf-8")
    os.utime(own / first.split()[0])
    assert f"has what {own / first.split()[0]} was before it changed" in refused(own)
    with (again / "train-000000.tar").open("ab") as file:
        file.write(b"0" * 512)
    assert "has another size than when it was written" in refused(data)


def test_processes_that_index_one_shard_at_a_time_all_succeed(data: Path, tmp_path: Path) -> None:
    image = (data / "test_000.png").read_bytes()
    place = tar(tmp_path / "a.tar", x__png=image, x__cls="1", y__png=image, y__cls="2")
    index = index_shard(Path(place), place, "target")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: TarStore(tmp_path / "kept", 1e9).indices([place], "target"), range(8)))
        list(pool.map(lambda _: write_index(tmp_path / "one.npz", index, "target"), range(32)))
    assert all(list(one.targets) == [1, 2] for (one,) in found)
    assert not [*tmp_path.glob("*.part"), *(tmp_path / "kept" / "indices").glob("*.part")]

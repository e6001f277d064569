"""Images that are kept decoded and resized: the same samples, never of an older file, never beyond the limit."""

import multiprocessing
import os
import pickle
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from torch.utils.data import DataLoader, Subset

from numclip_lightning.data.base import dataset as module
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.images import pixel_files
from numclip_lightning.images.loading import load_rgb
from numclip_lightning.images.pixel_cache import PixelCache
from numclip_lightning.images.pixel_files import PixelBlocks

SIZES = [(60, 40), (40, 60), (33, 33), (20, 24), (64, 90), (36, 36)]


@pytest.fixture(autouse=True)
def _roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is not nearly full, whatever is on that of the machine."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: SimpleNamespace(total=1000, free=500))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number, (width, height) in enumerate(SIZES):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(tmp_path / f"{number}.png")
    (tmp_path / "list.txt").write_text("".join(f"{number}.png {number}\n" for number in range(len(SIZES))))
    return tmp_path


def data(folder: Path, cache: str, **other: Any) -> ListDataModule:
    arguments = {"image_size": 32, "num_workers": 0, "cache_folder": str(folder / "kept"), "leaks": "warn", **other}
    lists = {"train_file": "list.txt", "val_file": "list.txt", "test_file": "list.txt"}
    return ListDataModule(root=str(folder), cache=cache, **lists, **arguments)  # type: ignore[arg-type]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded."""
    names: list[str] = []

    def counted(path: Any, *arguments: Any) -> Any:
        names.append(Path(path).name)
        return load_rgb(path, *arguments)

    monkeypatch.setattr(module, "load_rgb", counted)
    return names


@pytest.mark.parametrize("cache", ["memory", "disk"])
@pytest.mark.parametrize("preprocess", ["clip", "published"])
def test_samples_are_the_same_and_decoded_once(folder: Path, cache: str, preprocess: str, decoded: list[str]) -> None:
    plain, kept = (data(folder, how, preprocess=preprocess).cached_dataset("test") for how in ("none", cache))
    expected = [plain[index] for index in range(len(plain))]
    decoded.clear()
    for _ in range(2):
        for index, sample in enumerate(expected):
            for name, tensor in sample.items():
                torch.testing.assert_close(kept[index][name], tensor, rtol=0, atol=0)
    assert decoded == []
    # As a spawned loading process has it.
    assert torch.equal(pickle.loads(pickle.dumps(kept))[3]["image"], expected[3]["image"])


@pytest.mark.parametrize(("preprocess", "tolerance"), [("published", 0.0), ("clip", 0.08)])
def test_training_images_are_nearly_the_same(folder: Path, preprocess: str, tolerance: float) -> None:
    plain, kept = (data(folder, how, preprocess=preprocess).cached_dataset("train") for how in ("none", "memory"))
    for index in range(len(plain)):
        for seed in range(5):
            images = []
            for samples in (plain, kept):
                torch.manual_seed(seed)
                images.append(samples[index]["image"])
            assert (images[0] - images[1]).abs().mean() <= tolerance
    # Images that are smaller than the largest crop are kept as they are.
    torch.manual_seed(1)
    expected = plain[3]["image"]
    torch.manual_seed(1)
    assert torch.equal(kept[3]["image"], expected)


def test_another_run_reads_what_is_on_disk_until_a_file_changes(folder: Path, decoded: list[str]) -> None:
    data(folder, "disk").cached_dataset("test")
    decoded.clear()
    before = data(folder, "disk").cached_dataset("test")[0]["image"]
    assert decoded == []
    Image.new("RGB", (60, 40), "red").save(folder / "0.png")
    os.utime(folder / "0.png", ns=(1, 1))
    after = data(folder, "disk").cached_dataset("test")[0]["image"]
    assert len(decoded) == len(SIZES)
    assert not torch.equal(before, after)
    decoded.clear()
    data(folder, "disk", image_size=16).cached_dataset("test")
    data(folder, "disk", max_pixels=10**6).cached_dataset("test")
    assert len(decoded) == 2 * len(SIZES)


def test_a_split_that_is_too_large_is_decoded_each_time(
    folder: Path, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for cache in ("memory", "disk"):
        small = data(folder, cache, cache_gigabytes=32 * 32 * 3 * 4 / 1e9).cached_dataset("test")
        assert small.cache is None
        assert "the test images would take more than 0.0 GB as pixels (4 of 6 do)" in caplog.text
        decoded.clear()
        assert torch.equal(small[0]["image"], data(folder, "none").cached_dataset("test")[0]["image"])
        assert decoded == ["0.png", "0.png"]
    assert not [*(folder / "kept").glob("*.part"), *(folder / "kept").glob("*.pixels")]


def test_what_was_not_used_for_longest_makes_room(folder: Path) -> None:
    size = 6 * 32 * 32 * 3
    for number in (1, 2, 3):
        other = data(folder, "disk", cache_gigabytes=2.5 * size / 1e9, max_pixels=10**6 + number)
        other.cached_dataset("test")
        for index in (folder / "kept").glob("*.npz"):
            os.utime(index, (index.stat().st_atime, index.stat().st_mtime - 10))
    assert sum(file.stat().st_size for file in (folder / "kept").glob("*.pixels")) == 2 * size


def test_what_a_killed_process_has_left_is_removed_and_what_is_being_made_is_not(folder: Path) -> None:
    kept = folder / "kept"
    kept.mkdir()
    left = [
        kept / "dead.1.part",
        kept / "dead.2.part",
        kept / "dead.pixels",
        kept / "busy.1.part",
        kept / "busy.pixels",
    ]
    for file in left:
        file.write_bytes(b"0" * 1000)
    with FileLock(kept / "busy.lock"):
        data(folder, "disk").cached_dataset("test")
    assert [file.name for file in left if file.exists()] == ["busy.1.part", "busy.pixels"]
    (key,) = (file.stem for file in kept.glob("*.npz"))
    (kept / f"{key}.npz").unlink()
    (kept / f"{key}.3.part").write_bytes(b"0" * 1000)
    data(folder, "disk").cached_dataset("test")
    assert not (kept / f"{key}.3.part").exists()


@pytest.mark.parametrize("damage", ["no pixels", "short pixels", "bad index", "short index", "other index"])
def test_what_is_damaged_is_decoded_again(
    folder: Path, damage: str, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    before = data(folder, "disk").cached_dataset("test")[5]["image"]
    (pixels,), (index,) = ((folder / "kept").glob(name) for name in ("*.pixels", "*.npz"))
    whole = index.read_bytes()
    if damage == "no pixels":
        pixels.unlink()
    elif damage == "short pixels":
        pixels.write_bytes(pixels.read_bytes()[:-1])
    elif damage == "other index":
        np.savez(index, ends=np.array([1]), heights=np.array([1]))
    else:
        index.write_bytes(b"no index" if damage == "bad index" else whole[: len(whole) // 2])
    decoded.clear()
    assert torch.equal(data(folder, "disk").cached_dataset("test")[5]["image"], before)
    assert len(decoded) == len(SIZES)
    assert (damage == "no pixels") or "are damaged, and are decoded again" in caplog.text
    decoded.clear()
    data(folder, "disk").cached_dataset("test")
    assert decoded == []


def test_a_spawned_process_goes_on_where_another_run_has_made_room(folder: Path, decoded: list[str]) -> None:
    kept = data(folder, "disk").cached_dataset("train")
    sent = pickle.dumps(kept)
    expected = [(torch.manual_seed(index), kept[index]["image"])[1] for index in range(len(kept))]
    for file in [*(folder / "kept").glob("*.pixels"), *(folder / "kept").glob("*.npz")]:
        file.unlink()
    decoded.clear()
    spawned = pickle.loads(sent)
    for index, image in enumerate(expected):
        torch.manual_seed(index)
        assert torch.equal(spawned[index]["image"], image)
    assert len(decoded) == len(SIZES)


def test_a_folder_that_can_not_be_written_to_is_said_and_images_are_decoded(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "file").write_text("")
    plain = data(folder, "disk", cache_folder=str(folder / "file" / "kept")).cached_dataset("test")
    assert plain.cache is None
    assert "can't be kept in" in caplog.text
    assert "give another data.cache_folder" in caplog.text
    assert torch.equal(plain[0]["image"], data(folder, "none").cached_dataset("test")[0]["image"])


def test_a_full_disk_is_not_said_to_be_a_small_limit(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: SimpleNamespace(total=1000, free=99))
    assert data(folder, "disk").cached_dataset("test").cache is None
    assert "is nearly full (0 of 6 test images would be kept there)" in caplog.text
    assert data(folder, "memory").cached_dataset("test").cache is not None


def test_blocks_of_memory_are_joined_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_files, "_BLOCK_BYTES", 7)
    blocks, written = PixelBlocks(), [bytes(range(start, start + size)) for start, size in ((0, 3), (3, 20), (23, 5))]
    for content in written:
        blocks.write(content)
    assert bytes(blocks.joined().numpy()) == b"".join(written) == bytes(range(28))


def test_an_image_that_can_not_be_read_is_named_and_leaves_nothing(folder: Path) -> None:
    (folder / "4.png").write_bytes((folder / "4.png").read_bytes()[:80])
    with pytest.raises(DataError, match=r"list.txt:5: can't read image .*4.png"):
        data(folder, "disk").cached_dataset("test")
    assert not [*(folder / "kept").glob("*.part"), *(folder / "kept").glob("*.npz")]


def _build(folder: Path, results: Any) -> None:
    kept = data(folder, "disk").cached_dataset("test")
    results.put(sum(float(kept[index]["image"].sum()) for index in range(len(kept))))


def test_two_processes_make_one_file(folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_build, args=(folder, results)) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for process in processes:
            process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    plain = data(folder, "none").cached_dataset("test")
    assert found == [sum(float(plain[index]["image"].sum()) for index in range(len(plain)))] * 2
    assert len([*(folder / "kept").glob("*.pixels")]) == len([*(folder / "kept").glob("*.npz")]) == 1


def test_loading_processes_read_what_is_kept(folder: Path) -> None:
    kept, plain = data(folder, "disk").cached_dataset("test"), data(folder, "none").dataset("test")
    assert isinstance(kept.cache, PixelCache)
    images = torch.cat([batch["image"] for batch in DataLoader(kept, batch_size=4, num_workers=1)])
    assert torch.equal(images, torch.stack([plain[index]["image"] for index in range(len(plain))]))


def test_only_going_through_all_images_decodes_them_all(folder: Path, decoded: list[str]) -> None:
    whole = data(folder, "memory")
    assert whole.dataset("test")[1]["index"] == 1
    assert decoded == ["1.png"]
    for _ in range(2):
        assert sum(len(batch["image"]) for batch in whole.test_dataloader()) == len(SIZES)
    assert len(decoded) == 1 + len(SIZES)


class Wrapped(ListDataModule):
    """Lists whose samples a user has wrapped, without a thought of caches."""

    def dataset(self, split: Any) -> Any:
        return Subset(super().dataset(split), [0, 2])


def test_a_dataset_that_can_not_keep_pixels_is_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = Wrapped(root=str(folder), test_file="list.txt", image_size=32, num_workers=0, cache="memory")
    assert [batch["index"].tolist() for batch in own.test_dataloader()] == [[0, 2]]
    assert "data.cache keeps no pixels of the test images: Subset has no keep_pixels" in caplog.text


def test_bad_arguments_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="cache is 'ram'; choose one of 'none', 'memory', 'disk'"):
        data(folder, "ram")
    with pytest.raises(ConfigError, match="cache_gigabytes=0 must be a number above 0"):
        data(folder, "disk", cache_gigabytes=0)

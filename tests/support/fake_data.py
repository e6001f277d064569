"""Makers of small datasets: images whose brightness follows the target, and the lists that name them. Deterministic."""

import random
from collections.abc import Iterable, Sequence
from hashlib import md5
from pathlib import Path

import numpy as np
from PIL import Image

DECADES = (1930, 1940, 1950, 1960, 1970)


def make_image(path: Path, brightness: float = 0.5, size: tuple[int, int] = (16, 16)) -> Path:
    """Write an RGB image, `size` as (width, height), of a brightness in 0..1 with some noise seeded by the name."""
    rng = np.random.default_rng(int(md5(path.name.encode()).hexdigest()[:8], 16))
    noise = rng.normal(0, 8, (size[1], size[0], 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * brightness + noise).clip(0, 255).astype(np.uint8)).save(path)
    return path


def make_images(folder: Path, names: Iterable[str], size: tuple[int, int] = (16, 16)) -> list[Path]:
    """Write one grey image per name."""
    return [make_image(folder / name, size=size) for name in names]


def make_targets(n: int, values: Sequence[float], seed: int = 0) -> list[float]:
    """`n` targets in random order, every value equally often (to within one)."""
    targets = [values[i % len(values)] for i in range(n)]
    random.Random(seed).shuffle(targets)
    return targets


def make_list_dataset(
    folder: Path,
    n: int,
    *,
    values: Sequence[float] = tuple(range(10, 20)),
    name: str = "list.txt",
    seed: int = 0,
    size: tuple[int, int] = (16, 16),
) -> Path:
    """Write `n` images into `folder` and a list `folder/name` of `path target` lines; return the list.

    Lists of different names hold different images, so they can serve as the splits of one dataset.
    """
    targets = make_targets(n, values, seed)
    paths = [f"{Path(name).stem}_{i:03d}.png" for i in range(n)]
    make_bright(folder, paths, targets, values, size)
    return write_list(folder / name, [f"{path} {target:g}" for path, target in zip(paths, targets, strict=True)])


def make_aesthetics(root: Path, category: str = "people", train: int = 32, test: int = 10) -> None:
    """Image Aesthetics as published: PNGs and tab-separated lists with floats, no final newline."""
    values = (1.0, 2.0, 3.0, 4.0, 5.0)
    for split, n in (("train", train), ("test", test)):
        targets = make_targets(n, values)
        paths = [f"{split}{i:06d}.png" for i in range(n)]
        make_bright(root, paths, targets, values)
        lines = [f"{path}\t{target}" for path, target in zip(paths, targets, strict=True)]
        write_list(root / "labels" / f"{category}_{split}.txt", lines, final_newline=False)


def make_historical(root: Path, per_decade: int = 6) -> None:
    """Historical Color Images as published: one list per decade, labels such as `1930s`."""
    for decade in DECADES:
        keys = [md5(f"{decade} {i}".encode()).hexdigest() for i in range(per_decade)]
        paths = [f"./images/{decade}s_decade_{key}.jpg" for key in keys]
        make_bright(root, paths, [decade] * per_decade, DECADES)
        write_list(root / f"{decade}s.txt", [f"{path} {decade}s" for path in paths])


def make_morph(root: Path, train: int = 24, test: int = 10, fold: int = 0) -> None:
    """MORPH II, setting A, as published: CRLF, spaces and a header; two images per subject."""
    values = (16, 24, 36, 52, 70)
    for split, n, first in (("train", train, 100000), ("test", test, 300000)):
        targets = make_targets(n, values)
        paths = [f"{first + i // 2}_{i % 2:02d}M{target}.JPG" for i, target in enumerate(targets)]
        make_bright(root, [f"image/{path}" for path in paths], targets, values)
        lines = [f"0 1 {target} {path} morph" for path, target in zip(paths, targets, strict=True)]
        header = "race gender age filename database"
        write_list(root / f"Setting_A_fold{fold}_{split}.txt", [header, *lines], newline="\r\n")


def make_utkface(root: Path, n: int = 40, values: Sequence[int] = (1, 10, 25, 40, 60, 90)) -> None:
    """UTKFace as published: aligned faces whose names start with the age."""
    targets = make_targets(n, values)
    paths = [f"{target}_{i % 2}_{i % 5}_{20170109150557000 + i}.jpg.chip.jpg" for i, target in enumerate(targets)]
    make_bright(root, paths, targets, values)


def make_adience(root: Path, per_fold: int = 12) -> None:
    """Adience with both kinds of lists: L2RCLIP's, and the tables of the archive, with two faces of no one class."""
    values = range(8)
    ages = ("(0, 2)", "(4, 6)", "(8, 12)", "15", "(25, 32)", "(38, 43)", "(48, 53)", "(60, 100)")
    header = "user_id original_image face_id age gender x y dx dy tilt_ang fiducial_yaw_angle fiducial_score"
    for fold in range(5):
        targets = make_targets(per_fold, values)
        users = [f"{1000 * fold + i // 3}@N0{fold}" for i in range(per_fold)]
        images = [f"{fold}{i:04d}_o.jpg" for i in range(per_fold)]
        paths = [
            f"{user}/landmark_aligned_face.{i}.{image}"
            for i, (user, image) in enumerate(zip(users, images, strict=True))
        ]
        make_bright(root, paths, targets, values)
        write_list(
            root / f"simplified_adience_{fold}.txt",
            [f"{path} {target:g}" for path, target in zip(paths, targets, strict=True)],
        )
        known = zip(users, images, targets, strict=True)
        rows = [[user, image, str(i), ages[int(target)]] for i, (user, image, target) in enumerate(known)]
        rows += [[f"{fold}@N00", "x.jpg", "1", "None"], [f"{fold}@N00", "y.jpg", "2", "(38, 48)"]]
        lines = ["\t".join([*row, "f", *["0"] * 7]) for row in rows]
        for name in (f"fold_{fold}_data.txt", f"fold_frontal_{fold}_data.txt"):
            write_list(root / "folds" / name, ["\t".join(header.split()), *lines])


def make_clap2015(root: Path, train: int = 12, val: int = 6, test: int = 6) -> None:
    """CLAP2015 as L2RCLIP lists it: CRLF, with the deviation of the guesses and the split of each image."""
    lines, values = ["filename,age,stdv,database"], (5, 20, 35, 50, 65)
    for split, n in (("train", train), ("val", val), ("test", test)):
        targets = make_targets(n, values)
        paths = [f"image_{split}{i}.jpg" for i in range(n)]
        make_bright(root, paths, targets, values)
        lines += [
            f"{path},{target},{2 + i % 5}.25,{split}"
            for i, (path, target) in enumerate(zip(paths, targets, strict=True))
        ]
    write_list(root / "total_2015.csv", lines, newline="\r\n")


def make_fgnet(root: Path, persons: int = 82, images: int = 3) -> None:
    """FG-NET as published: photographs of people, who are numbered from 1, at growing ages."""
    values = [person % 11 + 10 * i for person in range(1, persons + 1) for i in range(images)]
    paths = [f"{1 + i // images:03d}A{age:02d}{'a' if i % 5 == 0 else ''}.JPG" for i, age in enumerate(values)]
    make_bright(root, paths, values, values)


def make_retina(root: Path, n: int = 24) -> None:
    """A table as APTOS has it, and the images of its ids in a folder."""
    values = range(5)
    targets = make_targets(n, values)
    ids = [md5(f"retina {i}".encode()).hexdigest()[:12] for i in range(n)]
    make_bright(root / "train_images", [f"{name}.png" for name in ids], targets, values)
    lines = [f"{name},{target:g}" for name, target in zip(ids, targets, strict=True)]
    write_list(root / "train.csv", ["id_code,diagnosis", *lines])


def make_bright(
    folder: Path,
    paths: Sequence[str],
    targets: Sequence[float],
    values: Sequence[float],
    size: tuple[int, int] = (16, 16),
) -> None:
    """Write an image for each path, as bright as its target between the least and the largest of `values`."""
    low, high = min(values), max(values)
    for path, target in zip(paths, targets, strict=True):
        make_image(folder / path, 0.1 + 0.8 * (target - low) / ((high - low) or 1), size)


def write_list(path: Path, lines: Iterable[str], *, newline: str = "\n", final_newline: bool = True) -> Path:
    """Write the lines of a list; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((newline.join(lines) + newline * final_newline).encode())
    return path

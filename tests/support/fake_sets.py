"""Tiny copies of public data sets in their true layout, each image as bright as its target. Deterministic."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from support.fake_data import make_bright, make_image, make_targets, write_list

AGES = (5, 18, 30, 45, 70)
# Nobody is younger in AFAD and CACD.
ADULTS = (16, 20, 30, 45, 60)
PEOPLE = ("OliviaHussey", "DickVanDyke", "TomJones", "AvaGardner", "Einstain", "WillSmith ", "MeganRyan", "JWayne")


def agedb_names(n: int) -> tuple[list[str], list[int]]:
    """Names as AgeDB has them, of eight people in turn, and their ages."""
    ages = [int(age) for age in make_targets(n, AGES)]
    return [f"{100 + i}_{PEOPLE[i % 8]}_{age}_{'fm'[i % 2]}.jpg" for i, age in enumerate(ages)], ages


def make_agedb(root: Path, n: int = 40) -> None:
    """AgeDB: photographs whose names have the person, the age and the sex."""
    names, ages = agedb_names(n)
    make_bright(root / "AgeDB", names, ages, AGES)


def make_agedb_dir(root: Path, n: int = 40) -> None:
    """AgeDB-DIR: the list of its authors, two of ten for validation and two for testing."""
    names, ages = agedb_names(n)
    make_bright(root / "AgeDB", names, ages, AGES)
    splits = [("test", "val", *["train"] * 3)[i % 5] for i in range(n)]
    rows = [f"{age},AgeDB/{name},{split}" for age, name, split in zip(ages, names, splits, strict=True)]
    write_list(root / "agedb.csv", ["age,path,split", *rows])


def make_imdb_wiki_dir(root: Path, n: int = 40) -> None:
    """IMDB-WIKI-DIR: the list of its authors, over the folders of both sets of faces."""
    ages = [int(age) for age in make_targets(n, AGES)]
    paths = [
        f"imdb_crop/{i % 3:02d}/nm{i // 2:07d}_rm{1000 + i}_1950-5-10_1968.jpg"
        if i % 4
        else f"wiki_crop/{i % 3:02d}/{10000 + i}_1950-05-05_2009.jpg"
        for i in range(n)
    ]
    make_bright(root, paths, ages, AGES)
    splits = [("test", "val", *["train"] * 3)[i % 5] for i in range(n)]
    rows = [f"{age},{path},{split}" for age, path, split in zip(ages, paths, splits, strict=True)]
    write_list(root / "imdb_wiki.csv", ["age,path,split", *rows])


def make_afad(root: Path, n: int = 40) -> None:
    """AFAD: a folder for each age, with one for men and one for women."""
    ages = [int(age) for age in make_targets(n, ADULTS)]
    paths = [f"AFAD-Full/{age}/{111 + i % 2}/{638000 + i // 2}-{i % 2}.jpg" for i, age in enumerate(ages)]
    make_bright(root, paths, ages, ADULTS)


def make_cacd(root: Path, people: int = 10, images: int = 4) -> None:
    """CACD: names with age and person, and the MATLAB file that has the rank of each person."""
    from scipy.io import savemat

    ages = [int(age) for age in make_targets(people * images, ADULTS)]
    names = [f"{age}_Robin_Williams{i // images}_{i % images:04d}.jpg" for i, age in enumerate(ages)]
    make_bright(root / "CACD2000", names, ages, ADULTS)
    cells = np.empty((len(names), 1), dtype=object)
    cells[:, 0] = names
    ranks = np.array([[1 + i // images] for i in range(len(names))], dtype=np.uint8)
    image = {"age": np.array(ages)[:, None], "rank": ranks, "name": cells}
    savemat(root / "celebrity2000_meta.mat", {"celebrityImageData": image, "celebrityData": {"name": "unused"}})


def make_clap2016(root: Path, train: int = 12, val: int = 6, test: int = 6) -> None:
    """CLAP2016: a list and a folder for each split, means and deviations with decimals."""
    for name, n in (("train", train), ("valid", val), ("test", test)):
        ages, names = make_targets(n, AGES), [f"{i:06d}.jpg" for i in range(n)]
        make_bright(root / name, names, ages, AGES)
        rows = [f"{image},{age + 0.25},{2 + i % 3}.5" for i, (image, age) in enumerate(zip(names, ages, strict=True))]
        write_list(root / f"{name}_gt.csv", ["image,mean,stdv", *rows])


def make_appa_real(root: Path, train: int = 12, val: int = 6, test: int = 6) -> None:
    """APPA-REAL: a list and a folder for each split, each photograph with the face that is cut out of it."""
    for name, n in (("train", train), ("valid", val), ("test", test)):
        ages, names = make_targets(n, AGES), [f"{i:06d}.jpg" for i in range(n)]
        make_bright(root / name, names, ages, AGES)
        make_bright(root / name, [f"{image}_face.jpg" for image in names], ages, AGES)
        rows = [f"{image},38,{age + 1.5},4.25,{age:.1f}" for image, age in zip(names, ages, strict=True)]
        header = "file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age"
        write_list(root / f"gt_avg_{name}.csv", [header, *rows])


def make_ava(root: Path, n: int = 20, test: int = 6) -> None:
    """AVA: counts of the votes from 1 to 10, and the ids that are tested on."""
    means, lines = make_targets(n, (3, 5, 6, 8)), []
    for i, mean in enumerate(means):
        counts = [10 + i if score == mean else 3 if abs(score - mean) == 1 else 0 for score in range(1, 11)]
        lines.append(" ".join(map(str, [i + 1, 953000 + i, *counts, 1, 22, 1396])))
    make_bright(root / "images", [f"{953000 + i}.jpg" for i in range(n)], means, (3, 8))
    write_list(root / "AVA.txt", lines)
    write_list(root / "aesthetics_image_lists" / "generic_test.jpgl", [str(953000 + i) for i in range(test)])


def make_koniq(root: Path, n: int = 20) -> None:
    """KonIQ-10k: shares of the scores 1 to 5, and a mean opinion score of another unit."""
    means, rows = make_targets(n, (2, 3, 4)), []
    for i, mean in enumerate(means):
        shares = [0.75 if score == mean else 0.125 if abs(score - mean) == 1 else 0.0 for score in range(1, 6)]
        split = ("test", "validation", "training", "training", "training")[i % 5]
        rows.append(",".join(map(str, [f"{1000 + i}.jpg", *shares, 104.0, 20 * mean - 4.5, 0.5, split])))
    make_bright(root / "512x384", [f"{1000 + i}.jpg" for i in range(n)], means, (2, 4))
    header = "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set"
    write_list(root / "koniq10k_distributions_sets.csv", [header, *rows])


def make_shanghaitech(root: Path, train: int = 12, test: int = 6, part: str = "A") -> None:
    """ShanghaiTech: crowds with a MATLAB file of points each."""
    from scipy.io import savemat

    for name, n in (("train_data", train), ("test_data", test)):
        counts = [int(count) for count in make_targets(n, (40, 200, 900, 3000))]
        folder = root / f"part_{part}_final" / name
        make_bright(folder / "images", [f"IMG_{i + 1}.jpg" for i in range(n)], counts, (40, 3000))
        (folder / "ground_truth").mkdir(parents=True, exist_ok=True)
        for i, count in enumerate(counts):
            points = np.random.default_rng(i).uniform(0, 16, (count, 2))
            info = np.empty((1, 1), dtype=object)
            info[0, 0] = {"location": points, "number": np.array([[count]])}
            savemat(folder / "ground_truth" / f"GT_IMG_{i + 1}.mat", {"image_info": info})


def make_yearguessr(root: Path, train: int = 12, val: int = 6, test: int = 6) -> None:
    """YearGuessr as the code of YearCLIP reads it: a path, a year, longitude and latitude."""
    years, first = (1050, 1420, 1710, 1890, 2005), 0
    for name, n in (("train", train), ("valid", val), ("test", test)):
        built = [int(year) for year in make_targets(n, years)]
        paths = [f"images/{first + i}.jpg" for i in range(n)]
        make_bright(root, paths, built, years)
        lines = [f"{path} {year} 12.4193E 45.4982N" for path, year in zip(paths, built, strict=True)]
        write_list(root / "data_list" / f"{name}.txt", lines)
        first += n


def make_knee(root: Path, train: int = 20, val: int = 10, test: int = 10) -> None:
    """Knees: a folder for each split with a folder for each grade, both knees of a patient together."""
    first = 9000000
    for split, n in (("train", train), ("val", val), ("test", test)):
        grades = [int(grade) for grade in make_targets(n, range(5))]
        paths = [f"{grade}/{first + i // 2}{'LR'[i % 2]}.png" for i, grade in enumerate(grades)]
        make_bright(root / split, paths, grades, (0, 4))
        first += n


def make_facebenchmark(root: Path, n: int = 40, database: str = "AgeDB") -> None:
    """The benchmark of CVPR 2024: a face in the middle of each photograph, ten folders, one of unknown age."""
    entries = []
    for i, age in enumerate(make_targets(n, AGES)):
        path, person = f"AgeDB/AgeDB/{i}_{PEOPLE[i % 8]}_{age:g}_m.jpg", i // 4
        make_image(root / path, 0.1 + 0.8 * (age - 5) / 65, (24, 20))
        # Upright, 12 x 12 pixels, and beyond the upper edge for every third.
        left, top = 6, -4 if i % 3 == 0 else 4
        box = [left, top, left + 12, top, left + 12, top + 12, left, top + 12]
        known = {"img_path": path, "name": f"person {person}", "age": int(age), "gender": "MFU"[i % 3]}
        entries.append({**known, "folder": person % 10, "aligned_bbox": box, "database": database})
    entries.append({**entries[0], "img_path": "AgeDB/AgeDB/unknown.jpg", "age": -1})
    root.mkdir(parents=True, exist_ok=True)
    file = root / f"{database}_aligned.json"
    file.write_text(json.dumps(entries, indent=4), encoding="utf-8")


MAKERS: dict[str, Callable[[Path], None]] = {
    name.removeprefix("make_"): maker
    for name, maker in list(globals().items())
    if name.startswith("make_") and maker.__module__ == __name__
}

"""Public data sets in their true layout: what each split has, who is in it, and what is refused."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import numclip_lightning.data
from numclip_lightning.data.base import FileDataModule, LabelTable
from numclip_lightning.data.facebenchmark import FaceBenchmarkDataModule
from numclip_lightning.data.koniq import KonIQDataModule
from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.images.loading import load_rgb
from numclip_lightning.scale import OrdinalScale
from support import fake_sets
from support.fake_sets import MAKERS
from support.places import CONFIGS

SPLITS = ("train", "val", "test")
# Those whose splits have no person, patient or picture in common.
EXCLUSIVE = {"agedb", "afad", "cacd", "knee", "facebenchmark"}
# What the makers write for each split, where nothing is drawn.
SIZES = {
    "agedb_dir": (24, 8, 8), "imdb_wiki_dir": (24, 8, 8), "cacd": (20, 8, 12), "clap2016": (12, 6, 6),
    "appa_real": (12, 6, 6), "koniq": (12, 4, 4), "yearguessr": (12, 6, 6), "knee": (20, 10, 10),
    "facebenchmark": (24, 8, 8),
}  # fmt: skip


def built(name: str, root: Path, **options: Any) -> FileDataModule:
    """The datamodule of a configuration, on a copy of the set."""
    data = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))["data"]
    kind = getattr(numclip_lightning.data, data["class_path"])
    small = {"root": str(root), "num_workers": 0, "image_size": 8, "batch_size": 64}
    return kind(**{**data["init_args"], **small, **options})  # type: ignore[no-any-return]


def made(name: str, root: Path, **options: Any) -> FileDataModule:
    MAKERS[name](root)
    return built(name, root, **options)


def tables(data: FileDataModule) -> list[LabelTable]:
    return [data.labels(split) for split in SPLITS]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", MAKERS)
def test_a_set_in_its_true_layout_is_read(name: str, tmp_path: Path) -> None:
    """The images are as bright as their targets, so that a wrong label shows; all of it lies on the scale."""
    data = made(name, tmp_path)
    data.setup("fit")
    data.setup("test")
    found = tables(data)
    assert all(found)
    if name in SIZES:
        assert tuple(map(len, found)) == SIZES[name]
    paths = [{label.path for label in table} for table in found]
    assert not (paths[0] & paths[1])
    assert not (paths[0] & paths[2])
    assert not (paths[1] & paths[2])
    if name in EXCLUSIVE:
        groups = [{label.group for label in table} for table in found]
        assert None not in groups[0]
        assert not (groups[0] & groups[1])
        assert not (groups[0] & groups[2])
        assert not (groups[1] & groups[2])
    scale = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))["model"]["init_args"]["scale"]
    for split, table in zip(SPLITS, found, strict=True):
        # Refuses what is not on the scale.
        OrdinalScale(**scale).to_level(torch.tensor(table.targets))
        batch = next(iter(data._loader(split)))  # type: ignore[arg-type]
        brightness = batch["image"].mean(dim=(1, 2, 3)).tolist()
        if name != "facebenchmark" and len(table) > 2:  # its crops are black beyond the photograph
            assert np.corrcoef(brightness, batch["target"].tolist())[0, 1] > 0.9


@pytest.mark.parametrize("name", MAKERS)
def test_a_set_that_is_not_there_says_what_to_put_where(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no train list; give train_file, or put ") as caught:
        built(name, tmp_path).setup("fit")
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "attribute"), [("agedb", "sex"), ("agedb_dir", "sex"), ("afad", "sex"), ("knee", "side")]
)
def test_names_and_folders_have_attributes(name: str, attribute: str, tmp_path: Path) -> None:
    table = made(name, tmp_path, attributes=[attribute]).labels("test")
    words = {"sex": {"male", "female"}, "side": {"left", "right"}}[attribute]
    assert {dict(label.attributes)[attribute] for label in table} <= words
    assert made(name, tmp_path).labels("test").attributes == ()


class TestVotes:
    def test_of_ava_are_its_counts(self, tmp_path: Path) -> None:
        data = made("ava", tmp_path)
        assert {Path(label.path).stem for label in data.labels("test")} == {str(953000 + i) for i in range(6)}
        (tmp_path / "AVA.txt").write_text("1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396\n")
        (tmp_path / "aesthetics_image_lists" / "generic_test.jpgl").write_text("953619\n")
        (label,) = built("ava", tmp_path).labels("test")
        counts = [0, 1, 5, 17, 38, 36, 15, 6, 5, 1]
        assert label.votes is not None
        assert list(label.votes.counts) == counts
        assert label.target == pytest.approx(np.average(range(1, 11), weights=counts))
        assert label.path == "images/953619.jpg"

    def test_of_koniq_are_its_shares(self, tmp_path: Path) -> None:
        """Two lines of the real table; its MOS and SD are in two units."""
        header = "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set\n"
        rows = (
            "10007357496.jpg,0.0,0.03125,0.46875,0.489583333333,0.0104166666667,96,68.7285714286,0.580003024795,test\n"
            "10043785683.jpg,0.0,0.0,0.433962264151,0.566037735849,0.0,106,71.2043269231,0.497974333332,validation\n"
        )
        (tmp_path / "koniq10k_distributions_sets.csv").write_text(header + rows)
        data = KonIQDataModule(root=str(tmp_path), check_images="none")
        (label,) = data.labels("test")
        assert label.path == "1024x768/10007357496.jpg"
        assert label.target == pytest.approx(3.479, abs=1e-3)
        assert label.votes is not None
        # The table's deviation is that of the sample.
        assert label.votes.spread * math.sqrt(96 / 95) == pytest.approx(0.580003024795, rel=1e-6)
        (other,) = KonIQDataModule(root=str(tmp_path), score="mos").labels("test")
        assert (other.target, other.votes, other.spread) == (68.7285714286, None, None)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("1 953619 0 1 5", r"AVA\.txt:1: the line has 5 fields, a line of AVA has 15"),
            ("1 953619 0 0 0 0 0 0 0 0 0 0 1 22 1396", r"AVA\.txt:1: there is no vote in the columns '1', '2'"),
            ("1 953619 0 x 0 0 0 0 0 0 0 0 1 22 1396", r"AVA\.txt:1: 'x' in the column '2' is not a number of votes"),
        ],
    )
    def test_bad_lines_of_ava(self, line: str, message: str, tmp_path: Path) -> None:
        made("ava", tmp_path)
        (tmp_path / "AVA.txt").write_text(line)
        with pytest.raises(DataError, match=message):
            built("ava", tmp_path).labels("train")

    def test_ava_without_the_list_of_tests(self, tmp_path: Path) -> None:
        made("ava", tmp_path)
        (tmp_path / "aesthetics_image_lists" / "generic_test.jpgl").unlink()
        with pytest.raises(
            DataError, match=r"generic_test\.jpgl is missing, which says what is tested on; put AVA\.txt"
        ):
            built("ava", tmp_path).labels("train")


class TestGuessedAges:
    def test_of_clap2016_come_with_their_deviation(self, tmp_path: Path) -> None:
        data = made("clap2016", tmp_path)
        with (tmp_path / "valid_gt.csv").open() as file:
            rows = list(csv.DictReader(file))
        found = [(label.path, label.target, label.spread) for label in data.labels("val")]
        assert found == [(f"valid/{row['image']}", float(row["mean"]), float(row["stdv"])) for row in rows]

    def test_of_appa_real_or_its_true_ages(self, tmp_path: Path) -> None:
        apparent, real = made("appa_real", tmp_path), built("appa_real", tmp_path, age="real", faces=False)
        one, other = apparent.labels("test")[0], real.labels("test")[0]
        assert (one.path, other.path) == ("test/000000.jpg_face.jpg", "test/000000.jpg")
        assert (one.target - 1.5, one.spread) == (other.target, 4.25)
        assert other.spread is None
        with pytest.raises(ConfigError, match="age"):
            built("appa_real", tmp_path, age="guessed")


class TestMatlab:
    def test_people_of_cacd_are_divided_by_rank(self, tmp_path: Path) -> None:
        found = tables(made("cacd", tmp_path))
        people = [{label.group for label in table} for table in found]
        assert people[1] == {"Robin_Williams0", "Robin_Williams1"}
        assert people[2] == {f"Robin_Williams{i}" for i in (2, 3, 4)}

    def test_cacd_without_its_table(self, tmp_path: Path) -> None:
        made("cacd", tmp_path)
        (tmp_path / "celebrity2000_meta.mat").rename(tmp_path / "other.mat")
        with pytest.raises(DataError, match=r"celebrity2000_meta\.mat is missing, which says who is tested on"):
            built("cacd", tmp_path).labels("train")
        (tmp_path / "celebrity2000_meta.mat").write_bytes(b"no table")
        with pytest.raises(DataError, match=r"celebrity2000_meta\.mat: this is no MATLAB file that can be read"):
            built("cacd", tmp_path).labels("train")

    def test_counts_are_those_of_the_points(self, tmp_path: Path) -> None:
        from scipy.io import savemat

        data = made("shanghaitech", tmp_path)
        assert set(data.labels("test").targets) <= {40, 200, 900, 3000}
        points = tmp_path / "part_A_final" / "test_data" / "ground_truth" / "GT_IMG_1.mat"
        info = np.empty((1, 1), dtype=object)
        info[0, 0] = {"location": np.zeros((3, 2)), "number": np.array([[4]])}
        savemat(points, {"image_info": info})
        with pytest.raises(DataError, match=r"GT_IMG_1\.mat: it has 3 points, but says 4"):
            built("shanghaitech", tmp_path).labels("test")
        savemat(points, {"other": info})
        with pytest.raises(DataError, match=r"has no variable 'image_info'; it has other: is it another file"):
            built("shanghaitech", tmp_path).labels("test")
        points.unlink()
        with pytest.raises(DataError, match=r"IMG_1\.jpg has no points; put GT_IMG_1\.mat into"):
            built("shanghaitech", tmp_path).labels("test")
        with pytest.raises(DataError, match="put the folder part_B_final or part_B into"):
            built("shanghaitech", tmp_path, part="B").labels("test")


class TestPlacesOfPeople:
    def put(self, root: Path, name: str, places: list[tuple[int, int]], size: tuple[int, int] = (48, 32)) -> None:
        """A black photograph, wide and high, with a white dot for each person, given by column and row from 1 on."""
        from scipy.io import savemat

        folder = root / "part_A" / name
        pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
        for column, row in places:
            pixels[row - 1, column - 1] = 255
        (folder / "images").mkdir(parents=True, exist_ok=True)
        (folder / "ground-truth").mkdir(exist_ok=True)
        number = len(list((folder / "images").iterdir())) + 1
        Image.fromarray(pixels).save(folder / "images" / f"IMG_{number}.png")
        info = np.empty((1, 1), dtype=object)
        info[0, 0] = {"location": np.array(places, dtype=float).reshape(-1, 2), "number": np.array([[len(places)]])}
        savemat(folder / "ground-truth" / f"GT_IMG_{number}.mat", {"image_info": info})

    def test_lie_where_the_image_shows_them_however_it_is_squeezed_and_flipped(self, tmp_path: Path) -> None:
        people = [(1, 1), (48, 32), (7, 20), (30, 9)]
        for name in ("train_data", "test_data"):
            for shown in (people, people[:1], people[1:3]):
                self.put(tmp_path, name, shown)
        seen = set()
        for cache in ("none", "memory"):
            data = built("shanghaitech", tmp_path, image_size=16, preprocess="whole", places=True, cache=cache,
                         normalize="unit", batch_size=1)  # fmt: skip
            for split, times in (("train", 8), ("test", 1)):
                for batch in (batch for _ in range(times) for batch in data._loader(split)):  # type: ignore[arg-type]
                    (places,), (image,) = batch["places"], batch["image"]
                    assert places.sum() == batch["target"]
                    # A pixel of the square is three by two of the photograph; the triangle reaches a neighbour too.
                    assert image.amax(0)[places > 0].min() > 0.05
                    assert ((image.amax(0) > 0.1) <= (places > 0)).all()
                    seen.add((split, tuple(places.nonzero().flatten().tolist())))
        assert len(seen) > 6, "some training images are flipped, none of those that are tested"
        assert "places" not in next(iter(data._loader("predict")))
        assert data.counts, "patch dropout is refused where heads are counted"

    def test_need_images_of_which_nothing_is_cropped(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"places=true with preprocess='published': people would be cropped"):
            built("shanghaitech", tmp_path, places=True)


class TestFaceBenchmark:
    def test_five_splits_are_the_published_ones(self, tmp_path: Path) -> None:
        """Against the folders that its README lists."""
        fake_sets.make_facebenchmark(tmp_path)
        folders = {
            entry["img_path"]: entry["folder"] for entry in json.loads((tmp_path / "AgeDB_aligned.json").read_text())
        }
        published = [
            ([0, 1, 2, 3, 4, 5], [6, 7], [8, 9]),
            ([2, 3, 4, 5, 6, 7], [8, 9], [0, 1]),
            ([4, 5, 6, 7, 8, 9], [0, 1], [2, 3]),
            ([5, 6, 7, 8, 9, 0], [1, 2], [3, 4]),
            ([6, 7, 8, 9, 0, 1], [2, 3], [4, 5]),
        ]
        for fold, expected in enumerate(published):
            found = tables(FaceBenchmarkDataModule(root=str(tmp_path), fold=fold))
            assert [{folders[label.path] for label in table} for table in found] == [set(part) for part in expected]

    def test_a_face_is_cut_out(self, tmp_path: Path) -> None:
        """Exactly, for a box of whole pixels: the crop at its own size is a part of the photograph."""
        fake_sets.make_facebenchmark(tmp_path)
        data = FaceBenchmarkDataModule(root=str(tmp_path), image_size=12, num_workers=0, batch_size=1)
        for label, batch in zip(data.labels("test"), data.test_dataloader(), strict=True):
            pixels = load_rgb(tmp_path / label.path)
            assert label.box is not None
            left, top = (int(corner) for corner in label.box[:2])
            expected = np.zeros((12, 12, 3))
            expected[max(-top, 0) :] = pixels[max(top, 0) : top + 12, left : left + 12]
            mean, std = (torch.tensor(part)[:, None, None] for part in data.normalization)
            found = ((batch["image"][0] * std + mean) * 255).permute(1, 2, 0).numpy()
            assert np.abs(found - expected).max() < 0.01

    def test_whole_sets_and_sets_with_one_split(self, tmp_path: Path) -> None:
        fake_sets.make_facebenchmark(tmp_path)
        assert len(FaceBenchmarkDataModule(root=str(tmp_path), whole=True).labels("test")) == 40
        fake_sets.make_facebenchmark(tmp_path, database="CLAP2016")
        sizes = [len(table) for table in tables(FaceBenchmarkDataModule(root=str(tmp_path), database="CLAP2016"))]
        assert sizes == [4, 4, 4]
        with pytest.raises(ConfigError, match="fold=1 doesn't exist in database='CLAP2016'; choose 0 to 0"):
            FaceBenchmarkDataModule(database="CLAP2016", fold=1)

    def test_a_real_entry(self, tmp_path: Path) -> None:
        """Of the README, with its turned box, and of CLAP2016, which has no box."""
        afad = {
            "img_path": "AFAD/AFAD-Full/15/111/638660-1.jpg", "id_num": 638660, "age": 15, "gender": "M",
            "database": "AFAD-Full", "folder": 0, "aligned_bbox": [-57, -95, 372, -83, 360, 346, -69, 334],
            "alignment_source": "in the wild",
        }  # fmt: skip
        (tmp_path / "AFAD-Full_aligned.json").write_text(json.dumps([afad]))
        data = FaceBenchmarkDataModule(root=str(tmp_path), database="AFAD-Full", attributes=["sex"], margin=0.5, fold=1)
        (label,) = data.labels("test")
        assert (label.target, label.group, dict(label.attributes)) == (15, "638660", {"sex": "male"})
        assert label.box is not None
        # Twice as large around the same centre.
        assert label.box[:2] == (2 * -57 - 151.5, 2 * -95 - 125.5)
        clap = {"img_path": "ChaLearn2016/train/003856.jpg", "age": 35, "std_age": 4.60901893634, "folder": 2}
        (tmp_path / "CLAP2016.json").write_text(json.dumps([clap]))
        data = FaceBenchmarkDataModule(root=str(tmp_path), database="CLAP2016", crop="none")
        (label,) = data.labels("test")
        assert (label.target, label.spread, label.box) == (35, 4.60901893634, None)

    def test_entries_without_a_face_are_left_out_as_in_the_benchmark(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its `prepare_alignment.py` writes an empty box where it found none; `prepare_data.py` takes the set's own."""
        box, own = [1, 2, 9, 2, 9, 8, 1, 8], [0, 0, 5, 0, 5, 5, 0, 5]
        boxes: list[dict[str, Any]] = [{"aligned_bbox": box}, {"aligned_bbox": []}, {"aligned_bbox": [], "bbox": own},
                 {"aligned_bbox": [], "bbox": [0] * 8}, {"aligned_bbox": [], "bbox": []}]  # fmt: skip
        entries = [{"img_path": f"{n}.jpg", "age": n, "folder": 8, **found} for n, found in enumerate(boxes)]
        (tmp_path / "IMDB-EM-CNN_aligned.json").write_text(json.dumps(entries))
        options: dict[str, Any] = {"root": str(tmp_path), "database": "IMDB-EM-CNN"}
        table = FaceBenchmarkDataModule(**options).labels("test")
        assert [(label.path, label.box) for label in table] == [("0.jpg", tuple(box)), ("2.jpg", tuple(own))]
        assert "3 entries have no box of a face and are left out" in caplog.text
        assert len(FaceBenchmarkDataModule(**options, crop="none").labels("test")) == 5
        del entries[1]["aligned_bbox"], entries[0]
        (tmp_path / "IMDB-EM-CNN_aligned.json").write_text(json.dumps(entries[:1]))
        with pytest.raises(DataError, match=r"aligned_bbox has 0 numbers, .* take IMDB-EM-CNN_aligned\.json"):
            FaceBenchmarkDataModule(**options).labels("test")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"aligned_bbox": [0, 0, 5]}, r"AgeDB_aligned\.json:1: aligned_bbox has 3 numbers, four corners have 8"),
            ({"folder": "a"}, r"AgeDB_aligned\.json:1: folder 'a' is not a number"),
            ({"age": "old"}, r"AgeDB_aligned\.json:1: label 'old' is not a number"),
        ],
    )
    def test_bad_entries(self, change: dict[str, Any], message: str, tmp_path: Path) -> None:
        entry = {"img_path": "a.jpg", "age": 3, "folder": 0, "aligned_bbox": [0, 0, 5, 0, 5, 5, 0, 5], **change}
        (tmp_path / "AgeDB_aligned.json").write_text(json.dumps([entry]))
        with pytest.raises(DataError, match=message):
            FaceBenchmarkDataModule(root=str(tmp_path)).labels("train")


def test_balanced_lists_of_the_authors(tmp_path: Path) -> None:
    """Lines of the real agedb.csv: a blank in a name, a person's name with odd letters, no header order of ours."""
    rows = [
        "age,path,split", "31,AgeDB/11706_OliviaHussey_31_f.jpg,train", "36,AgeDB/16070_WillSmith _36_m.jpg,train",
        "44,AgeDB/15872_St\u0412phaneAudran_44_f.jpg,test", "59,AgeDB/11684_MireilleDarc_59_f.jpg,val",
    ]  # fmt: skip
    (tmp_path / "agedb.csv").write_text("\n".join(rows), encoding="utf-8")
    data = built("agedb_dir", tmp_path, check_images="none")
    assert [(label.target, label.group) for label in data.labels("train")] == [(31, "OliviaHussey"), (36, "WillSmith")]
    assert data.labels("test")[0].group == "St\u0412phaneAudran"
    (tmp_path / "imdb_wiki.csv").write_text(
        "age,path,split\n69,imdb_crop/01/nm0000001_rm124825600_1899-5-10_1968.jpg,test\n", encoding="utf-8"
    )
    (label,) = built("imdb_wiki_dir", tmp_path, check_images="none").labels("test")
    assert (label.target, label.group) == (69, "nm0000001")


def test_the_tables_of_yearguessr(tmp_path: Path) -> None:
    """Lines of the real test.csv, whose pictures are in another folder; and a list whose line has no year."""
    rows = [
        "Picture,Year,Longitude,Latitude,Building,Source",
        "5.jpg,1008,12.4193\u00b0E,45.4982\u00b0N,Torcello Cathedral,https://en.wikipedia.org/wiki/Torcello_Cathedral",
        '15.jpg,1022,9.94361\u00b0E,52.15278\u00b0N,"St. Michael\'s Church, Hildesheim",'
        '"https://en.wikipedia.org/wiki/St._Michael%27s_Church,_Hildesheim"',
    ]
    for folder in ("csv", "images"):
        (tmp_path / folder).mkdir()
    (tmp_path / "csv" / "test.csv").write_text("\n".join(rows), encoding="utf-8")
    data = built("yearguessr", tmp_path, check_images="none", attributes=["Building"])
    assert [(label.path, label.target) for label in data.labels("test")] == [
        ("images/5.jpg", 1008),
        ("images/15.jpg", 1022),
    ]
    assert dict(data.labels("test")[1].attributes) == {"Building": "St. Michael's Church, Hildesheim"}
    (tmp_path / "data_list").mkdir()
    (tmp_path / "data_list" / "test.txt").write_text(
        "a.jpg 1008 12.4193\u00b0E 45.4982\u00b0N\nb.jpg\n", encoding="utf-8"
    )
    with pytest.raises(DataError, match=r"test\.txt:2: no year after 'b\.jpg'; a line is a path, a year and coord"):
        built("yearguessr", tmp_path).labels("test")
    (tmp_path / "mine.txt").write_text("a.jpg 1008 12.4193 45.4982\n", encoding="utf-8")
    mine = built("yearguessr", tmp_path, check_images="none", test_file=str(tmp_path / "mine.txt"))
    assert mine.labels("test")[0].targets == (1008,), "coordinates are no years in a list that is named either"


def test_list_files_alone_count(tmp_path: Path) -> None:
    for name in ("agedb_dir", "clap2016", "ava", "shanghaitech", "knee", "yearguessr"):
        data = made(name, tmp_path / name, test_file=str(tmp_path / "mine.csv"))
        (tmp_path / "mine.csv").write_text("image,mean\na.jpg,20\n")
        with pytest.raises(DataError, match="there is no train list"):
            data.labels("train")

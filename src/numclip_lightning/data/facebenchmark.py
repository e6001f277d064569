"""The benchmark of facial ages of CVPR 2024 (Paplham and Franc): nine sets, five subject-exclusive splits of each."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

from numclip_lightning.data.base.dialects import Record
from numclip_lightning.data.base.folds import check_fold
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.parsing import parse_spread, parse_target
from numclip_lightning.data.base.split_tables import SplitTableDataModule
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import DataError, check_choice, refuse
from numclip_lightning.images.cropping import widened

__all__ = ["FaceBenchmarkDataModule"]

_log = logging.getLogger(__name__)

Database = Literal[
    "AFAD-Full", "AgeDB", "CACD2000", "CLAP2016", "FG-Net", "IMDB-CLEAN-FP-AGE", "IMDB-EM-CNN", "MORPH", "UTKFace"
]
Crop = Literal["box", "none"]

FOLDS = 5
# The first folder of training in each split of those with ten folders: six for training, two for validation, two for
# testing, in this order and round the corner.
_STARTS = (0, 2, 4, 5, 6)
# Their authors' own splits; folders 0, 1 and 2.
_OWN = ("CACD2000", "CLAP2016", "IMDB-CLEAN-FP-AGE")
_ONE_SPLIT = (*_OWN, "IMDB-EM-CNN", "FG-Net")
_SEXES = {"M": "male", "F": "female"}


@dataclass(kw_only=True, eq=False, repr=False)
class FaceBenchmarkDataModule(SplitTableDataModule):
    """A set of the benchmark by its files `AgeDB_aligned.json` and so on: no person is in two parts of a split.

    The files are those of `paplhjak/Facial-Age-Estimation-Benchmark-Databases` (MIT), in `root` or `root/databases`.
    Each entry has `img_path` (from `root` on, such as `AFAD/AFAD-Full/15/111/638660-1.jpg`), `age`, `folder`, and
    `aligned_bbox`, the corners of the face turned upright. Six folders are trained on, two validate, two are tested on;
    CACD2000, CLAP2016 and both of IMDB have one split; FG-Net is only tested on, all of it. Faces of unknown age
    (-1) are left out, and so are, with `crop=box`, entries in which no face was found: `aligned_bbox` is empty, and
    there is no `bbox` of the set itself. If any list file is given, only the list files count.

    The entries also give the person as the group (`name` or `id_num`), `std_age` as the spread of CLAP2016, and the
    attribute `sex`, if `attributes` asks for it. The other arguments are those of `FileDataModule`.

    Args:
        database: Which set.
        fold: Which split, 0 to 4; 0 for the sets with one.
        whole: Whether all images of the set are the test images, for a model that another set has trained.
        crop: `box`: the face alone, turned upright, black where it reaches beyond the photograph; the file is
            `..._aligned.json`. `none`: whole photographs; the file without `_aligned` is enough. Images of
            `numclip predict` and of a predictor are taken as they are: cut them likewise.
        margin: By which share of its size the box is widened at each side, for `crop=box`.
    """

    folders: ClassVar[tuple[str, ...]] = ("databases", "facebase/benchmarks/databases")
    columns: ClassVar[tuple[str, ...]] = ("img_path", "age")
    split_column: ClassVar[str] = "folder"

    database: Database = "AgeDB"
    fold: int = 0
    whole: bool = False
    crop: Crop = "box"
    margin: float = 0.0

    def validate_arguments(self) -> None:
        """Check the set, the split and the crop also."""
        super().validate_arguments()
        check_choice("database", self.database, get_args(Database))
        check_choice("crop", self.crop, get_args(Crop))
        check_fold(self.fold, 1 if self.database in _ONE_SPLIT else FOLDS, f" in database={self.database!r}")
        if not -0.5 < self.margin < float("inf"):
            refuse(f"margin={self.margin} leaves nothing of the box; give a share above -0.5, such as 0.1")

    @property
    def table_name(self) -> str:
        """The file name of the set; its boxes are in the file of aligned faces."""
        names = [f"{self.database}_aligned.json", f"{self.database}.json"]
        plain = self.crop == "none" and self.search(names[1], *self.folders)
        return names[1] if plain else names[0]

    def split_of(self, word: str, where: str) -> Split | None:
        """Return the split that a folder is in."""
        if not word.lstrip("-").isdecimal():
            raise DataError(f"{where}: folder {word!r} is not a number")
        if self.whole or self.database == "FG-Net":
            return "test"
        folder = int(word)
        if self.database in _OWN:
            return {0: "train", 1: "val", 2: "test"}.get(folder)  # type: ignore[return-value]
        if not 0 <= folder < 10:
            return None
        place = (folder - _STARTS[self.fold]) % 10
        return "train" if place < 6 else "val" if place < 8 else "test"

    def label_of(self, record: Record, source: Path) -> Label | None:
        """Return the age of an entry with its person and box; None if the age is unknown, or no face was found."""
        line, fields = record
        where = f"{source}:{line}"
        age = parse_target(fields["age"], where)
        if age < 0:
            return None
        spread = parse_spread(fields.get("std_age", ""), where)
        group = fields.get("name") or fields.get("id_num") or None
        # Predictions have the attributes of their lists, so that what nobody asks for must not be there.
        sex = (("sex", _SEXES.get(fields.get("gender", ""), "")),) if self.attributes else ()
        box = self._box(fields, where) if self.crop == "box" else None
        if box is None and self.crop == "box":
            self._without_face += 1
            return None
        return Label(fields["img_path"], (age,), group, line, source, spread, attributes=sex, box=box)

    def attributes_of(self, label: Label) -> Mapping[str, str]:
        """Return the sex of an entry, empty where it is unknown."""
        return {"sex": "", **super().attributes_of(label)}

    def _read(self, source: Path) -> dict[Split, LabelTable]:
        self._without_face = 0
        found = super()._read(source)
        if self._without_face:
            _log.warning(
                "%s: %d entries have no box of a face and are left out, as the benchmark does",
                source, self._without_face,
            )  # fmt: skip
        return found

    def _box(self, fields: Mapping[str, str], where: str) -> tuple[float, ...] | None:
        """Return the corners of the face, or else those that the set itself gives; None if there are neither."""
        given = fields.get("aligned_bbox")
        tokens = (given or fields.get("bbox", "")).split()
        if given == "" and set(tokens) <= {"0"}:
            return None
        if given is None or len(tokens) != 8:
            number = 0 if given is None else len(tokens)
            raise DataError(
                f"{where}: aligned_bbox has {number} numbers, four corners have 8; take "
                f"{self.database}_aligned.json, or set data.crop=none"
            )
        return widened([parse_target(token, where) for token in tokens], self.margin)

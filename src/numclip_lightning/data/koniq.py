"""KonIQ-10k (Hosu et al., IEEE TIP 2020): 10,073 photographs, the quality of each rated by about 120 people, 1 to 5."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

from numclip_lightning.data.base.dialects import Record
from numclip_lightning.data.base.labels import Label
from numclip_lightning.data.base.parsing import parse_target
from numclip_lightning.data.base.split_tables import SplitTableDataModule
from numclip_lightning.data.base.types import Split
from numclip_lightning.data.base.votes import read_votes
from numclip_lightning.errors import check_choice

__all__ = ["KonIQDataModule"]

Size = Literal["1024x768", "512x384"]
Score = Literal["votes", "mos"]
_SCORES = {f"c{score}": float(score) for score in range(1, 6)}


@dataclass(kw_only=True, eq=False, repr=False)
class KonIQDataModule(SplitTableDataModule):
    """KonIQ-10k by its authors' table: 7,058 images for training, 1,000 for validation, 2,015 for testing.

    The table is `koniq10k_distributions_sets.csv` in `root` or `root/metadata`, with the columns `image_name`, `c1` to
    `c5` (the share of each score), `c_total`, `MOS`, `SD` and `set`. Images are in `root/1024x768` or `root/512x384`.
    If any list file is given, only the list files count. The other arguments are those of `FileDataModule`.

    Args:
        size: The folder of the images, by their size.
        score: `votes`: the mean of the five scores, 1 to 5, and the votes with it (`model.raters`). `mos`: the table's
            `MOS`, which goes from 0 to 100; it corrects for the raters, so that the votes and the table's `SD`, which
            count from 1 to 5, don't fit it and are left out.
    """

    table: ClassVar[str] = "koniq10k_distributions_sets.csv"
    folders: ClassVar[tuple[str, ...]] = ("metadata",)
    columns: ClassVar[tuple[str, ...]] = ("image_name", *_SCORES, "mos")
    split_column: ClassVar[str] = "set"
    split_words: ClassVar[Mapping[str, Split]] = {"training": "train", "validation": "val", "test": "test"}

    size: Size = "1024x768"
    score: Score = "votes"

    def validate_arguments(self) -> None:
        """Check the size and the score also."""
        super().validate_arguments()
        check_choice("size", self.size, get_args(Size))
        check_choice("score", self.score, get_args(Score))

    def label_of(self, record: Record, source: Path) -> Label:
        """Return the mean of the votes with the votes, or the mean opinion score."""
        line, fields = record
        where, path = f"{source}:{line}", f"{self.size}/{fields['image_name']}"
        if self.score == "mos":
            return Label(path, (parse_target(fields["mos"], where),), None, line, source)
        votes = read_votes(fields, _SCORES, where)
        return Label(path, (votes.mean,), None, line, source, votes=votes)

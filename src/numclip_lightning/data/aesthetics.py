"""Image Aesthetics: the beauty scores of Schifanella et al. (ICWSM 2015), 1 (unacceptable) to 5 (exceptional)."""

from dataclasses import dataclass
from typing import Literal

from numclip_lightning.data.base import Split
from numclip_lightning.data.files import FileDataModule
from numclip_lightning.data.labels import LabelTable
from numclip_lightning.errors import check_choice

__all__ = ["AestheticsDataModule"]


@dataclass(kw_only=True, eq=False, repr=False)
class AestheticsDataModule(FileDataModule):
    """One category of Image Aesthetics, by the published lists `{category}_train.txt` and `{category}_test.txt`.

    The lists are looked for in `root` and `root/labels`. There is no validation list: a sixteenth of the training list
    is set aside (the papers' 75 / 5 / 20 %). The other arguments are those of `FileDataModule`.

    Args:
        category: Which of the four categories; each is a task of its own.
        val_fraction: Share of the training list set aside for validation, in (0, 1).
    """

    category: Literal["animals", "nature", "people", "urban"] = "people"
    val_fraction: float = 0.0625

    def validate_arguments(self) -> None:
        """Check the category too."""
        super().validate_arguments()
        check_choice("category", self.category, ("animals", "nature", "people", "urban"))

    def published(self, split: Split) -> LabelTable | None:
        """The published training or test list of the category."""
        file = self.search(f"{self.category}_{split}.txt", "labels") if split in ("train", "test") else None
        return self.read_list(file) if file else None

    def expected(self, split: Split) -> str:
        """Name the published list."""
        return f"put {self.category}_{split}.txt into {self.root!r} or its folder 'labels'"

"""Image Aesthetics: beauty scores by Schifanella et al. (ICWSM 2015), 1 (unacceptable) to 5 (exceptional)."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.folds import check_fold, cross_validate
from numclip_lightning.data.base.labels import LabelTable
from numclip_lightning.data.base.splits import random_split
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import check_choice, refuse

__all__ = ["AestheticsDataModule"]

FOLDS = 5

Category = Literal["animals", "nature", "people", "urban"]


@dataclass(kw_only=True, eq=False, repr=False)
class AestheticsDataModule(FileDataModule):
    """One category of Image Aesthetics, by the published lists or by the papers' five random folds.

    The published lists are `{category}_train.txt` and `{category}_test.txt`, in `root` or `root/labels`. The papers'
    own folds were never published; ours divide all images of both lists into five, and test on each once. In both
    cases a sixteenth of the training part is set aside for validation: 75 / 5 / 20 %. The other arguments are those of
    `FileDataModule`.

    Args:
        category: Which of the four categories; each is a task of its own.
        fold: Which of the five folds, 0 to 4; None takes the published lists. NumCLIP's code selects its checkpoints on
            the published test list, which `select_on=test` does.
        split_seed: Seed of the folds and of their validation parts; the published lists use `seed` for theirs.
        val_fraction: Share of the training list or part set aside for validation, in (0, 1).
    """

    category: Category = "people"
    fold: int | None = None
    split_seed: int = 0
    val_fraction: float = 0.0625

    def validate_arguments(self) -> None:
        """Check the category also."""
        super().validate_arguments()
        check_choice("category", self.category, get_args(Category))
        if self.fold is not None:
            check_fold(self.fold, FOLDS)
            if self.lists_given:
                refuse(f"fold={self.fold} divides the published lists; leave it or your list files out")

    def may_select_on_test(self) -> bool:
        """Return True for the published lists: NumCLIP's code selects on their test list."""
        return self.fold is None

    def published(self, split: Split) -> LabelTable | None:
        """Return the published training or test list of the category, or a part of the fold."""
        if self.fold is not None:
            return self._parts.get(split)
        return self.join(split, self._names(split), "labels") if split in ("train", "test") else None

    @cached_property
    def _parts(self) -> dict[Split, LabelTable]:
        """Splits of the fold; none if the lists are absent."""
        table = self.join("train", self._names("train"), "labels")
        if table is None or self.fold is None:
            return {}
        rest, test = cross_validate(table, FOLDS, self.fold, self.split_seed)
        train, val = random_split(rest, self.val_fraction, self.split_seed)
        return {"train": LabelTable(train), "val": LabelTable(val), "test": LabelTable(test)}

    def expected(self, split: Split) -> str:
        """Name the published lists."""
        return f"put {' and '.join(self._names(split))} into {self.root!r} or its folder 'labels'"

    def _names(self, split: Split) -> list[str]:
        parts = (split,) if self.fold is None else ("train", "test")
        return [f"{self.category}_{part}.txt" for part in parts]

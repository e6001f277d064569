"""Whether an image is on the scale at all: scores of tested and predicted images, and what rejects them."""

import logging
from collections.abc import Iterable, Iterator
from copy import copy
from typing import Any, Self

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from numclip_lightning.data.base.datamodule import OrdinalDataModule, Split
from numclip_lightning.errors import ConfigError, MissingListError
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.samples import Samples, encode_share, gather_by_index
from numclip_lightning.methods.base.types import Output, Prediction
from numclip_lightning.models.off_scale import least_validation, validation_share
from numclip_lightning.runs.concepts import Concepts, read_words
from numclip_lightning.runs.rows import Row, float32_text
from numclip_lightning.runs.scale_scores import LEARNED, ScoreName, build_score, check_score, pooled

__all__ = ["DEFAULT_SCORE", "OnScale"]

_log = logging.getLogger(__name__)

DEFAULT_SCORE: ScoreName = "mahalanobis"


class OnScale(Callback):
    """Adds columns to predictions that say whether an image is one of those that the scale is for.

    - `scale_score`: the score; a larger one is nearer to the scale.
    - `on_scale`: the share of validation images that score no better, in 0..1 (`models.off_scale.validation_share`).
    - `rejected`, if a rate is given: `true` where `on_scale` is no more than the rate.
    - `shows`, if a vocabulary is given: the nearest words, of rejected images alone if a rate is given.

    Validation images, and for some scores the training images, are encoded before the first batch.

    Args:
        score: Which score; None is `DEFAULT_SCORE`.
        reject: The share of images on the scale that may be rejected, above 0 and below 1; None rejects none.
        concepts: A file of words, one a line; None for none.

    Raises:
        ConfigError: If the rate is out of range.
        DataError: If there are no words.
    """

    def __init__(
        self, score: ScoreName | None = None, reject: float | None = None, concepts: str | None = None
    ) -> None:
        if reject is not None and not 0 < reject < 1:
            raise ConfigError(f"--reject={reject} must be above 0 and below 1, such as 0.05.")
        self.score: ScoreName = score or DEFAULT_SCORE
        self.reject = reject
        self._words = None if concepts is None else read_words(concepts)
        self._concepts: Concepts | None = None

    @classmethod
    def asked(
        cls, score: ScoreName | None, reject: float | None, concepts: str | None, *, off_scale: bool
    ) -> Self | None:
        """Return one if anything asks for it, else None.

        Args:
            score: As of the class.
            reject: As of the class.
            concepts: As of the class.
            off_scale: Whether images that are known not to be on the scale are tested.
        """
        return cls(score, reject, concepts) if score or reject is not None or concepts or off_scale else None

    @property
    def columns(self) -> list[str]:
        """The columns that are added."""
        rejected, shows = ["rejected"] * (self.reject is not None), ["shows"] * (self._words is not None)
        return ["scale_score", "on_scale", *rejected, *shows]

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Refuse a score that the method can't have, and lists that are missing, before anything is computed.

        Raises:
            ConfigError: If the method lacks what the score needs, or too few validation images could reject any.
            DataError: If images are needed that the configuration does not have.
        """
        if stage not in ("test", "predict") or not isinstance(pl_module, OrdinalMethod):
            return
        check_score(self.score, pl_module)
        data = _data_of(trainer)
        for split in _needed(self.score):
            try:
                data.labels(split)
            except MissingListError as error:
                reason = f"--on_scale={self.score} compares with the {split} images of the configuration: {error}"
                raise MissingListError(reason) from error
        number = len(data.labels("val"))
        if self.reject is not None and number < (least := least_validation(self.reject)):
            raise ConfigError(
                f"--reject={self.reject} needs {least} validation images, and there are {number}: no image could be "
                "rejected; give more of them, or a larger rate."
            )
        if getattr(data, "select_on", "val") == "test":
            _log.warning("on_scale: the validation images are those of the test (select_on=test), so it is no test")

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Learn the score, and let the method read it."""
        self._learn(trainer, pl_module)

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Learn the score, and let the method read it."""
        self._learn(trainer, pl_module)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave the method as it was."""
        if isinstance(pl_module, OrdinalMethod):
            pl_module.reader = None

    def with_cells(self, rows: Iterable[Row], batch: Prediction) -> Iterator[Row]:
        """Yield rows of predictions with the cells of `columns`, as `WritePredictions` asks for them."""
        read = batch.read.float().cpu().numpy()
        for (index, cells), (score, share, *places) in zip(rows, read, strict=True):
            # With room for float32: 1/20 is not above 0.05.
            rejected = self.reject is not None and bool(share <= self.reject + 1e-7)
            own = [float32_text(score), float32_text(share), *[str(rejected).lower()] * (self.reject is not None)]
            if self._concepts:
                shown = rejected or self.reject is None
                own.append(self._concepts.said([int(place) for place in places]) if shown else "")
            yield index, [*cells, *own]

    @torch.no_grad()
    def _learn(self, trainer: L.Trainer, method: Any) -> None:
        """Learn the score from training images where it needs them, and its distribution from validation images."""
        data = _data_of(trainer)
        train = None
        if self.score in LEARNED:
            parts = _encoded(method, data, "train")
            train = gather_by_index([part._replace(features=pooled(part.features)) for part in parts])
        score = build_score(self.score, method, train)
        self._concepts = Concepts(self._words, method) if self._words else None
        scored = []
        for part in _encoded(method, data, "val"):
            features = part.features.to(method.device)
            scored.append(part._replace(features=score(features, method.decode_features(features))))
        validation = gather_by_index(scored).features

        def read(features: Tensor, output: Output) -> Tensor:
            found = score(features, output)
            parts = [found[:, None], validation_share(found, validation)[:, None]]
            if self._concepts:
                parts.append(self._concepts.nearest(pooled(features)).double())
            return torch.cat(parts, dim=1).float()

        method.reader = read


def _encoded(method: OrdinalMethod, data: OrdinalDataModule, split: Split) -> Iterator[Samples]:
    """Yield this process's share of the images of a split, as a test has them: nothing is changed at random."""
    plain = copy(data)
    plain.augment = False
    _log.info("on_scale: encoding %d %s images", len(data.labels(split)), split)
    with isolate_rng():
        yield from encode_share(method, plain.cached_dataset(split), data.batch_size, data.num_workers)


def _needed(score: ScoreName) -> tuple[Split, ...]:
    return ("train", "val") if score in LEARNED else ("val",)


def _data_of(trainer: L.Trainer) -> OrdinalDataModule:
    """Return the datamodule of a trainer.

    Raises:
        ConfigError: If it has none with splits.
    """
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, OrdinalDataModule):
        raise ConfigError("on_scale compares with validation images; give the trainer a datamodule that has them.")
    return data

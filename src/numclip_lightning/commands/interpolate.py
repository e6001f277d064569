"""`numclip interpolate`: weights between CLIP and a fit, chosen on the validation images."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Literal

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils.data import DataLoader

from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.errors import ConfigError
from numclip_lightning.runs.checks import check_targets
from numclip_lightning.runs.command import NumClipCLI
from numclip_lightning.runs.folder import print_place, run_folder, selected_on
from numclip_lightning.runs.interpolate import Walk, barriers, path_between, walk
from numclip_lightning.runs.interpolation_files import read_whole, write_checkpoint, write_tables

__all__ = ["interpolate"]

_log = logging.getLogger(__name__)

_ALPHAS = [i / 10 for i in range(11)]
# Decoded validation images are kept in memory up to this size.
_MOST_BYTES = 2e9


def interpolate(words: Sequence[str]) -> int:
    """Run `numclip interpolate --config FILE --ckpt_path CHECKPOINT [--alphas=[0,0.5,1]]`.

    Args:
        words: The words after `numclip interpolate`.

    Returns:
        The exit code 0.

    Raises:
        ConfigError: If an argument is wrong, or there is nothing to interpolate.
    """
    try:
        _InterpolateCLI(["validate", *words], name="interpolate")
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error
    return 0


class _InterpolateCLI(NumClipCLI):
    """The parser, the method, the data and the run folder of `validate`."""

    def init_parser(self, *, own_flags: bool = False, **kwargs: Any) -> LightningArgumentParser:
        """Add the flags of this verb."""
        parser = super().init_parser(own_flags=own_flags, **kwargs)
        if own_flags:
            add = parser.add_argument
            add("--alphas", type=list[float], default=_ALPHAS,
                help="The places to try, from 0 (CLIP) to 1 (the fit); both ends are always among them.")  # fmt: skip
            add("--parts", type=bool, default=True,
                help="Whether to move each part alone as well, for the table of barriers.")  # fmt: skip
            add("--batch_norm", type=Literal["estimate", "interpolate"], default="estimate",
                help="How a tower with batch normalisation gets its running statistics.")  # fmt: skip
            add("--batch_norm_images", type=int, default=512,
                help="The training images that they are estimated from.")  # fmt: skip
        return parser

    def _parse_ckpt_path(self) -> None:
        """Refuse to start without a checkpoint, or with places that are none."""
        given = self.config[self.verb]
        if not given.ckpt_path:
            raise ConfigError("numclip interpolate needs the checkpoint of a fit; give --ckpt_path.")
        if wrong := [alpha for alpha in given.alphas if not 0 <= alpha <= 1]:
            raise ConfigError(f"alphas has {wrong[0]}; give numbers from 0 (CLIP) to 1 (the fit).")
        if given.batch_norm_images < 2:
            raise ConfigError(f"batch_norm_images is {given.batch_norm_images}; give 2 or more.")
        super()._parse_ckpt_path()

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Build a trainer of one process that logs nothing; all validation images count."""
        trainer = self.config_init[self.verb].trainer
        own = {"devices": 1, "num_nodes": 1, "strategy": "auto", "logger": False, "limit_val_batches": None}
        for name, value in own.items():
            trainer[name] = value
        return super().instantiate_trainer(**kwargs)

    def run_verb(self, subcommand: str) -> None:
        """Interpolate, choose, write, and validate what was chosen."""
        given = self.config[self.verb]
        checkpoint = read_whole(given.ckpt_path, self.model)
        path = path_between(self.model, checkpoint["state_dict"])
        self.model.load_state_dict(checkpoint["state_dict"])
        if not path.moves_images:
            _log.warning("the image tower was frozen: only %s lie between CLIP and the fit", " and ".join(path.parts))
        data: OrdinalDataModule = self.datamodule
        clip = self.model.clip
        data.follow_backbone(clip.image_size, clip.mean, clip.std)
        clip.require_size(data.side, data.side)
        check_targets(data, "val", self.model.scale)
        has_statistics = any(name.endswith("running_mean") for name in path.end)
        estimates = has_statistics and given.batch_norm == "estimate"
        calibration = list(_images(data, given.batch_norm_images)) if estimates else []
        place = Walk(self.model, self.trainer, path, _kept(data), calibration)
        alphas = sorted({0.0, *given.alphas, 1.0})
        points = walk(place, alphas)
        # Of equals, the one nearest to the fit.
        best = min(points, key=lambda point: (point.mae, -point.alpha))
        found = barriers(place, alphas) if given.parts else []
        place.go(best.alpha)
        self.trainer.validate(self.model, datamodule=data, verbose=False)
        folder = run_folder(self.trainer)
        write_tables(folder, points, found, best, self.model.scale.unit)
        kept = folder / "checkpoints" / "interpolated.ckpt"
        best_of = {"alpha": best.alpha, "ckpt_path": given.ckpt_path}
        write_checkpoint(kept, checkpoint, self.model.state_dict(), best_of, selected_on(self.trainer))
        print((folder / "interpolation.md").read_text(encoding="utf-8"))  # noqa: T201
        print_place(self.trainer, str(kept))


def _kept(data: OrdinalDataModule) -> Callable[[], Iterable[dict[str, Any]]]:
    """Return a function that gives the validation batches, kept in memory if they are few: every place needs them."""
    size = len(data.labels("val")) * 3 * data.side**2 * 4
    if size > _MOST_BYTES:
        return data.val_dataloader
    batches = list(data.val_dataloader())
    return lambda: batches


def _images(data: OrdinalDataModule, number: int) -> Iterator[Tensor]:
    """Yield batches of training images as the fit sees them, the same at each call."""
    dataset: Any = data.cached_dataset("train")
    size = min(data.batch_size, number)
    with isolate_rng():
        torch.manual_seed(0)
        loader = DataLoader(dataset, batch_size=size, shuffle=True, drop_last=len(dataset) > size)
        yield from (batch["image"] for batch in islice(loader, max(1, number // size)))

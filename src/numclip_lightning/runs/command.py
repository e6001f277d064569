"""`numclip`: fit, validate, test and predict from configuration files and flags."""

import logging
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger

# Imported for their names: `class_path: NumCLIP` finds every class that is imported here.
import numclip_lightning.data
import numclip_lightning.methods  # noqa: F401
from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.runs.checkpoints import BestCheckpoint, read_hyperparameters
from numclip_lightning.runs.checks import CheckData, check_targets
from numclip_lightning.runs.features import KeepFeatures
from numclip_lightning.runs.folder import RunFolder, new_run_name
from numclip_lightning.runs.predictions import WritePredictions
from numclip_lightning.runs.terminal import own_words
from numclip_lightning.runs.trainer import Trainer

__all__ = ["NumClipCLI"]

_log = logging.getLogger(__name__)

# Subcommands with parsers of their own, and what they do.
_OTHERS = {
    "benchmark": "runs many methods on many datasets and compares them",
    "splits": "writes the lists of a protocol",
}


class NumClipCLI(LightningCLI):
    """The command line: any method with any datamodule, every run in a folder of its own.

    Args:
        args: The words after `numclip`; those of the shell where None.
    """

    def __init__(self, args: Sequence[str] | None = None) -> None:
        super().__init__(
            OrdinalMethod,
            OrdinalDataModule,
            save_config_callback=RunFolder,
            trainer_class=Trainer,
            trainer_defaults={
                "default_root_dir": "runs",
                "max_epochs": 100,
                "log_every_n_steps": 10,
                "callbacks": [CheckData()],
            },
            seed_everything_default=0,
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=None if args is None else list(args),
            auto_configure_optimizers=False,
            # The methods keep plain hyperparameters themselves; Lightning would add an instantiator to run on loading.
            load_from_checkpoint_support=False,
            parser_kwargs={
                "prog": "numclip",
                "epilog": "Beside these: " + "; ".join(f"`numclip {name}` {what}" for name, what in _OTHERS.items()),
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the callbacks with settings, which a config's own list of callbacks can't displace."""
        parser.add_lightning_class_args(KeepFeatures, "features")
        parser.add_lightning_class_args(BestCheckpoint, "checkpoint")
        parser.set_defaults({
            "checkpoint.monitor": "val_mae",
            "checkpoint.mode": "min",
            "checkpoint.filename": "best",
            "checkpoint.save_last": True,
            "checkpoint.enable_version_counter": False,
        })  # fmt: skip

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Take whole names only: an abbreviation is a misspelling."""
        return super().init_parser(allow_abbrev=False, **kwargs)

    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        super()._add_subcommands(parser, **kwargs)
        # Afterwards: the usage of a subcommand's own parser would begin with it.
        parser.usage = f"numclip {{{','.join([*self.subcommands(), *_OTHERS])}}} ..."

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        # In place of the names of all flags, which would hide the error that follows.
        kwargs["usage"] = f"numclip {subcommand} [--config FILE]... [--KEY=VALUE]..."
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "fit":
            parser.add_argument(
                "--test_after_fit", type=bool, default=False, help="Test the best checkpoint at the end."
            )
        if subcommand == "predict":
            parser.add_argument("--output", type=str | None, default=None,
                                help="The CSV to write; predictions.csv in the run folder by default.")  # fmt: skip
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the words."""
        words = sys.argv[1:] if args is None else args
        # A W&B agent writes Python's None.
        self.config = parser.parse_args([re.sub(r"^(--[^=]+=)None$", r"\1null", word) for word in words])

    def _parse_ckpt_path(self) -> None:
        """Let the hyperparameters in a checkpoint override configuration and flags, as Lightning does.

        All but where the CLIP lies: it may have moved, or be missing on the machine that tests or predicts, and the
        checkpoint holds its weights (`--model.pretrained=null` then asks for no others).
        """
        subcommand = self.config.subcommand
        path = self.config[subcommand].get("ckpt_path")
        if not path:
            return
        known = read_hyperparameters(path)
        arguments = {key: value for key, value in known.items() if key not in ("_class_path", "backbone", "pretrained")}
        method = {"class_path": known["_class_path"], "init_args": arguments}
        self.config = self.parser.parse_object({subcommand: {"model": method}}, self.config)

    def instantiate_classes(self) -> None:
        """Build everything; what a constructor refuses is told in its own words, not in jsonargparse's."""
        with own_words():
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Build the trainer around one run folder."""
        config = self._get(self.config_init, "trainer")
        root, name = config["default_root_dir"] or ".", new_run_name(str(self.subcommand))
        self.folder = Path(root, name)
        self.save_config_kwargs = {"folder": self.folder}
        checkpoint = self._get(self.config_init, "checkpoint")
        checkpoint.dirpath = checkpoint.dirpath or str(self.folder / "checkpoints")
        if config["logger"] is not False:
            # Flushed at every row: what a killed run has measured is not lost.
            csv = CSVLogger(root, "", name, flush_logs_every_n_steps=1)
            kwargs["logger"] = [*_listed(config["logger"]), csv]
        if self.subcommand != "fit" or config["fast_dev_run"]:
            kwargs["enable_checkpointing"] = False
        try:
            return super().instantiate_trainer(**kwargs)
        except (TypeError, ValueError) as error:
            # Such as an accelerator that doesn't exist: nothing but the user's `trainer` section is involved.
            raise ConfigError(f"trainer: {error}") from error

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> L.Trainer:
        if config["enable_checkpointing"] is False:
            callbacks = [callback for callback in callbacks if not isinstance(callback, BestCheckpoint)]
        if not config["fast_dev_run"]:
            output = self._get(self.config, "output") if self.subcommand == "predict" else None
            predicted = Path(output) if output else self.folder / "predictions.csv"
            callbacks = [*callbacks, WritePredictions(predicted, self.folder / "test_predictions.csv")]
        return super()._instantiate_trainer(config, callbacks)

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except RuntimeError as error:
            if "loading state_dict" not in str(error):
                raise
            raise ConfigError(
                "the checkpoint doesn't fit model.backbone; give the configuration that lies in its run folder."
            ) from error
        finally:
            # The logger makes the folder before the data are checked; where they are refused, it is empty.
            with suppress(OSError):
                self.folder.rmdir()

    def _warn_of_untrained(self) -> None:
        if self.is_untrained:
            _log.warning("no --ckpt_path: the method is measured as it starts, untrained")

    before_validate = before_test = _warn_of_untrained

    def before_predict(self) -> None:
        """Refuse to predict with a method that has learnt nothing yet."""
        if self.is_untrained:
            raise ConfigError("without --ckpt_path the method is untrained; give the checkpoint of a fit.")

    @property
    def is_untrained(self) -> bool:
        """Whether there is something to learn and no checkpoint that holds it."""
        learns = any(parameter.requires_grad for parameter in self.model.parameters())
        return learns and not self._get(self.config, "ckpt_path")

    def before_fit(self) -> None:
        """Look at the test split now where it is wanted afterwards: hours later is no time to miss an image."""
        if self._get(self.config, "test_after_fit"):
            self.datamodule.setup("test")
            check_targets(self.datamodule, "test", self.model.scale)

    def after_fit(self) -> None:
        """Test the best checkpoint where that is wanted, and say how to do it again."""
        keeper = self.trainer.checkpoint_callback
        best = getattr(keeper, "best_model_path", "") or getattr(keeper, "last_model_path", "")
        if self._get(self.config, "test_after_fit"):
            self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=best or None)
        if best and self.trainer.is_global_zero:
            run = next(callback for callback in self.trainer.callbacks if isinstance(callback, RunFolder))  # type: ignore[attr-defined]
            print(f"\nThis run is kept in {run.folder}. To test it again:\n  {run.test_command(best)}")  # noqa: T201


def _listed(logger: Any) -> list[Logger]:
    """Return what `trainer.logger` holds as a list; True and None mean the CSV logger that is always there."""
    if logger is None or logger is True:
        return []
    return list(logger) if isinstance(logger, list) else [logger]

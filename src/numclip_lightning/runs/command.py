"""`numclip fit`, `validate`, `test` and `predict`: one run of Lightning from configuration files and flags."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

# Imported for their names: `class_path: NumCLIP` finds every class that is imported here.
import numclip_lightning.data
import numclip_lightning.methods  # noqa: F401
from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.errors import ConfigError, NumClipError
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.runs.callbacks import (
    add_callback_flags,
    add_prediction_flags,
    add_reading_flags,
    listed,
    loggers_of,
    own_callbacks,
)
from numclip_lightning.runs.checkpoints import explain_misfit
from numclip_lightning.runs.checks import CheckData
from numclip_lightning.runs.durable import use_durable_checkpoints
from numclip_lightning.runs.endings import explain
from numclip_lightning.runs.exact import ExactResume
from numclip_lightning.runs.finite import StopDiverged
from numclip_lightning.runs.folder import (
    RunFolder,
    discard_unused,
    new_run_name,
    require_place,
    run_folder,
)
from numclip_lightning.runs.in_wandb import interrupted_fit
from numclip_lightning.runs.mistakes import refuse_mistakes
from numclip_lightning.runs.orphans import named_as_starter, watch_starter
from numclip_lightning.runs.parser import ABOUT, USAGE, Parser, parse_words
from numclip_lightning.runs.prediction_writer import raise_problem
from numclip_lightning.runs.restoring import restore_arguments, restore_normalization
from numclip_lightning.runs.same_list import SameList
from numclip_lightning.runs.secret_values import refuse_secrets
from numclip_lightning.runs.stopping import slurm_job
from numclip_lightning.runs.terminal import unwrap_errors
from numclip_lightning.runs.trainer import Trainer
from numclip_lightning.runs.verb_hooks import VerbHooks

__all__ = ["NumClipCLI", "fit", "predict", "run_command", "test", "validate"]

_log = logging.getLogger(__name__)


class NumClipCLI(VerbHooks):
    """One run: any method with any datamodule, in a run folder of its own.

    Args:
        words: The verb (`fit`, `validate`, `test` or `predict`) and the words after it.
        until: How far to go: `parsed` reads the words alone, not even a checkpoint; `built` also builds the method, the
            datamodule and the trainer; `run` also runs the verb.
        name: What the user called, if it is not one of Lightning's verbs but goes by one.
        callbacks: What else watches the run, without being in its configuration.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        until: Literal["parsed", "built", "run"] = "run",
        name: str | None = None,
        callbacks: Sequence[L.Callback] = (),
    ) -> None:
        self.verb, self.until, self.words, self.callbacks = words[0], until, list(words), list(callbacks)
        self.name = name or self.verb
        super().__init__(
            OrdinalMethod,
            OrdinalDataModule,
            save_config_callback=RunFolder,
            trainer_class=Trainer,
            trainer_defaults={
                "default_root_dir": "runs",
                "max_epochs": 100,
                "log_every_n_steps": 10,
                "callbacks": [ExactResume(), SameList(), CheckData(), StopDiverged()],
            },
            seed_everything_default=0,
            parser_class=Parser,
            parser_kwargs={
                "prog": "numclip",
                self.verb: {"own_flags": True, "usage": USAGE.format(self.name), "description": ABOUT[self.name]},
            },
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=list(words),
            auto_configure_optimizers=False,
            # The methods keep plain hyperparameters themselves; Lightning would add an instantiator to run on loading.
            load_from_checkpoint_support=False,
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Offer only the verb that was called: the parsers of all four take twice as long to build."""
        return {verb: skipped for verb, skipped in LightningCLI.subcommands().items() if verb == self.verb}

    def init_parser(self, *, own_flags: bool = False, **kwargs: Any) -> LightningArgumentParser:
        """Add the flags that only this verb has."""
        parser = super().init_parser(**kwargs)
        if own_flags:
            self.verb_parser = parser
        if own_flags and self.verb == "fit":
            parser.add_argument(
                "--test_after_fit", type=bool, default=False, help="Test the best checkpoint at the end."
            )
        if own_flags and self.verb in ("test", "predict"):
            add_reading_flags(parser)
        if own_flags and self.verb == "test":
            parser.add_argument("--corrupt", type=str | None, default=None,
                                help="Test corrupted images too: all, or kinds such as noise,blur:3.")  # fmt: skip
        if own_flags and self.verb == "predict":
            add_prediction_flags(parser)
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the callbacks with settings, which a list of callbacks in a configuration can't replace."""
        add_callback_flags(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the words."""
        self.config = parse_words(parser, self.verb_parser, args)
        refuse_secrets(self.config[self.verb].as_dict())
        given = self.config[self.verb]
        if self.verb == "fit" and self.until == "run":
            given.ckpt_path = given.ckpt_path or interrupted_fit(given.trainer.default_root_dir or ".")

    def _parse_ckpt_path(self) -> None:
        """Let the hyperparameters in a checkpoint override configuration and flags, as Lightning does.

        Overridden although it is private: Lightning has no switch for it, and it would also restore the place of the
        CLIP (see `restore_arguments`).
        """
        path = self.config[self.verb].ckpt_path
        if path and self.until != "parsed":
            self.config = restore_arguments(self.parser, self.config, self.verb, path, self.words)

    def instantiate_classes(self) -> None:
        """Build everything, unless the words are only to be parsed."""
        if self.until != "parsed":
            refuse_mistakes(self.config[self.verb].as_dict(), self.verb)
            with unwrap_errors():
                super().instantiate_classes()
            if path := self.config[self.verb].ckpt_path:
                restore_normalization(self.model, path)

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Build the trainer around one run folder."""
        given = self.config_init[self.verb]
        config = given.trainer
        root, name = config.default_root_dir or ".", new_run_name(self.name)
        self.folder = Path(root, name)
        require_place(Path(root))
        self.save_config_kwargs = {"folder": self.folder}
        if config.logger is not False:
            kwargs["logger"] = loggers_of(config.logger, root, name)
        if self.verb != "fit" or config.fast_dev_run:
            kwargs["enable_checkpointing"] = False
        if self.verb == "fit" and (job := slurm_job(self.words)):
            # Where Lightning keeps what a job goes on from when SLURM starts it again, and looks for it.
            kwargs["default_root_dir"] = str(Path(root, job))
        keeps = kwargs.get("enable_checkpointing", config.enable_checkpointing) is not False
        own = own_callbacks(self.verb, given, self.folder, keeps_checkpoints=keeps)
        kwargs["callbacks"] = [*listed(config.callbacks), *own, *self.callbacks]
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except (TypeError, ValueError) as error:
            # Such as an accelerator that doesn't exist: nothing but the user's `trainer` section is involved.
            raise ConfigError(f"trainer: {error}") from error
        use_durable_checkpoints(trainer)
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        """Run the verb.

        Overridden although it is private: the constructor of Lightning's class always ends with it, and what it raises
        can be explained only while the run folder is known.
        """
        if self.until != "run":
            return
        try:
            with named_as_starter(self.trainer):
                self.run_verb(subcommand)
            raise_problem(self.trainer)
        except BaseException as error:
            reason: NumClipError | None
            if isinstance(error, RuntimeError) and "loading state_dict" in str(error):
                reason = explain_misfit(error, str(self.config[self.verb].ckpt_path))
            else:
                reason = explain(error, self.verb, run_folder(self.trainer))
            if reason or isinstance(error, NumClipError):
                discard_unused(self.trainer)
            if reason:
                raise reason from error
            raise
        finally:
            # The logger makes the folder before the data are checked; if they are refused, it is empty.
            with suppress(OSError):
                self.folder.rmdir()

    def run_verb(self, subcommand: str) -> None:
        """Run the verb of Lightning, with what comes before and after it."""
        super()._run_subcommand(subcommand)


def run_command(verb: str, words: Sequence[str], kind: type[NumClipCLI] = NumClipCLI) -> int:
    """Parse, build and run one verb of Lightning.

    Args:
        verb: `fit`, `validate`, `test` or `predict`.
        words: The words after the verb.
        kind: The class that does so.

    Returns:
        The exit code 0.

    Raises:
        NumClipError: If the words, the data or the checkpoint can't be used. The parser itself exits with code 2.
    """
    watch_starter()
    try:
        kind([verb, *words])
    except MisconfigurationException as error:
        raise ConfigError(str(error)) from error
    return 0


fit = partial(run_command, "fit")
validate = partial(run_command, "validate")
test = partial(run_command, "test")
predict = partial(run_command, "predict")

"""`numclip fit`, `validate` and `test`: Lightning's verbs, their pictures, and the report of what was tested."""

import logging
from functools import partial
from typing import Any, Literal

import lightning as L
from lightning.pytorch.cli import LightningArgumentParser

from numclip_lightning.commands.pictures import RunPictures
from numclip_lightning.errors import NumClipError
from numclip_lightning.runs.command import NumClipCLI, run_command

__all__ = ["fit", "test", "validate"]

_log = logging.getLogger(__name__)


class _DrawingCLI(NumClipCLI):
    """A run that ends with pictures, if they are asked for."""

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Let a callback draw, after all others have written."""
        given = self.config_init[self.verb]
        if given.pictures and not given.trainer.fast_dev_run:
            self.callbacks.append(RunPictures(images=given.pictures != "no_images"))
        return super().instantiate_trainer(**kwargs)


class _ReportingCLI(_DrawingCLI):
    """A run that ends with a page about its tested images."""

    def init_parser(self, *, own_flags: bool = False, **kwargs: Any) -> LightningArgumentParser:
        """Add the flag of the report."""
        parser = super().init_parser(own_flags=own_flags, **kwargs)
        if own_flags:
            parser.add_argument(
                "--report",
                type=bool | Literal["no_images"],
                default=True,
                help="Write report.html about the tested images into the run folder; no_images for private ones.",
            )
        return parser

    def run_verb(self, subcommand: str) -> None:
        """Run the verb, then write the report of what it has tested."""
        super().run_verb(subcommand)
        tested = self.folder / "test_predictions.csv"
        if self.config[self.verb].report and self.trainer.is_global_zero and tested.is_file():
            self._report(images=self.config[self.verb].report != "no_images")

    def _report(self, *, images: bool) -> None:
        """Write the report; what is wrong with it never spoils the test that was done."""
        try:
            from numclip_lightning.commands.report import report_of_run

            page = report_of_run(self.folder, images=images)
        except ImportError as error:
            _log.info("no report.html (%s); it needs pip install 'numclip-lightning[report]'", error)
        except (NumClipError, OSError) as error:
            _log.warning("no report.html: %s", error)
        else:
            print(f"\nThe report is in {page}: open it in a browser.")  # noqa: T201


fit = partial(run_command, "fit", kind=_ReportingCLI)
validate = partial(run_command, "validate", kind=_DrawingCLI)
test = partial(run_command, "test", kind=_ReportingCLI)

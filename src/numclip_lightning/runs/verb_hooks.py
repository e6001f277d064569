"""What comes before and after each verb of Lightning: refusals, warnings, and what is printed at the end."""

import logging
from collections.abc import Sequence

from lightning.pytorch.cli import LightningCLI

from numclip_lightning.errors import ConfigError
from numclip_lightning.runs.averaging import end_lightnings_averages
from numclip_lightning.runs.checkpoints import best_checkpoint
from numclip_lightning.runs.checks import check_targets
from numclip_lightning.runs.folder import print_place, print_result
from numclip_lightning.runs.released import released_parameters, trained_parameters
from numclip_lightning.runs.remarks import say_what_is_idle
from numclip_lightning.runs.unfitted import calibrate_unfitted

__all__ = ["VerbHooks"]

_log = logging.getLogger(__name__)


class VerbHooks(LightningCLI):
    """A command line with what Lightning calls around a verb, by the names `before_VERB` and `after_VERB`.

    Attributes:
        verb: The verb.
        words: It, and the words after it.
    """

    verb: str
    words: Sequence[str]

    def _warn_of_untrained(self) -> None:
        if self.is_untrained:
            _log.warning("no --ckpt_path: the method is measured as it starts, untrained")

    before_validate = _warn_of_untrained

    def before_test(self) -> None:
        """Warn of a method that is untrained; calibrate one that needs no training."""
        self._warn_of_untrained()
        if not self.is_untrained and not self.config.test.ckpt_path:
            calibrate_unfitted(self.trainer, self.model, self.datamodule)

    def before_predict(self) -> None:
        """Refuse to predict with a method that is untrained."""
        if self.is_untrained:
            raise ConfigError("without --ckpt_path the method is untrained; give the checkpoint of a fit.")
        # They are written, and nobody asks for them again.
        self.config_init.predict.return_predictions = False

    @property
    def is_untrained(self) -> bool:
        """Whether the method has parameters to train and no checkpoint was given for them."""
        learns = trained_parameters(self.model) + released_parameters(self.trainer) > 0
        return learns and not self.config[self.verb].ckpt_path

    def before_fit(self) -> None:
        """Check the test split before training if it is tested afterwards: a missing image is reported at once."""
        say_what_is_idle(self.config.fit.as_dict(), self.model, self.words)
        if self.config.fit.test_after_fit:
            self.datamodule.setup("test")
            check_targets(self.datamodule, "test", self.model.scale)

    def after_fit(self) -> None:
        """Test the best checkpoint if `--test_after_fit` asks for it, and print the command that does so again."""
        keeper = best_checkpoint(self.trainer)
        best = getattr(keeper, "best_model_path", "") or getattr(keeper, "last_model_path", "")
        self._print_result()
        if self.config.fit.test_after_fit:
            end_lightnings_averages(self.trainer)
            self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=best or None)
            self._print_result()
        if best:
            print_place(self.trainer, best)

    def _print_result(self) -> None:
        print_result(self.trainer)

    after_validate = after_test = _print_result

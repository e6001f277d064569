"""Lightning's trainer with limits as the command line writes them, which resumes at the right place."""

from typing import Any

import lightning as L
from lightning.pytorch.loops.loop import _Loop
from lightning.pytorch.trainer.states import TrainerFn

from numclip_lightning.data.base.types import Split

__all__ = ["Trainer", "uses_whole_split"]


class Trainer(L.Trainer):
    """Lightning's trainer with annotations that keep an integer limit an integer, and exact ends of epochs.

    Lightning 2.6 annotates the limits as `Optional[Union[int, float]]`. `typing` caches that under the same key as the
    `Optional[Union[float, int]]` of `lightning.fabric`, which is evaluated first; so on the command line
    `limit_train_batches=1` would be 1.0, which means all batches, and 2 would be refused.

    Args:
        limit_train_batches: How much of the training data to use (float = fraction, int = number of batches).
        limit_val_batches: How much of the validation data to use, likewise.
        limit_test_batches: How much of the test data to use, likewise.
        limit_predict_batches: How much of the prediction data to use, likewise.
        **kwargs: The other arguments of `lightning.Trainer`.
    """

    def __init__(
        self,
        *,
        limit_train_batches: int | float | None = None,
        limit_val_batches: int | float | None = None,
        limit_test_batches: int | float | None = None,
        limit_predict_batches: int | float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            limit_train_batches=limit_train_batches,
            limit_val_batches=limit_val_batches,
            limit_test_batches=limit_test_batches,
            limit_predict_batches=limit_predict_batches,
            **kwargs,
        )

    def _run_stage(self) -> Any:
        """Run the verb.

        Overridden although it is private: with `max_steps` Lightning takes a checkpoint of the end of an epoch for one
        within it, ends the epoch a second time, and counts one too many. No hook comes between the loop's state and
        the loop.
        """
        loop = self.fit_loop
        epochs: Any = loop.epoch_progress.current
        if self.state.fn == TrainerFn.FITTING and loop.restarting and epochs.ready == epochs.processed:
            # The setter of the base, as that of the fit loop never lets go of it here.
            _Loop.restarting.fset(loop, False)  # type: ignore[attr-defined]
        return super()._run_stage()


def uses_whole_split(trainer: L.Trainer, split: Split) -> bool:
    """Return whether a run uses all images of a split, not a few batches of it to try something out."""
    limits = {
        "train": trainer.limit_train_batches,
        "val": trainer.limit_val_batches,
        "test": trainer.limit_test_batches,
    }
    limit = limits.get(split, trainer.limit_predict_batches)
    # An integer is a number of batches, a float a share of them.
    return isinstance(limit, float) and limit == 1.0

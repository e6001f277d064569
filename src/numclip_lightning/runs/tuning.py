"""Which of a method's trials is best: the lowest error on validation images, for each place of a benchmark."""

import math
from collections.abc import Sequence

from numclip_lightning.runs.planned import Place, PlannedTrial
from numclip_lightning.runs.records import find_record

__all__ = ["choose"]

_SELECTED_BY = "val_mae"


def choose(trials: Sequence[PlannedTrial]) -> dict[Place, str]:
    """Return the name of the best trial of each place.

    Args:
        trials: All trials of a benchmark.

    Returns:
        The trial with the lowest `val_mae` for each dataset, method, fold and number of shots; of equal ones the first.
        A trial that failed, or has no finite error, is not chosen. A place is left out while one of its trials has
        never ended, so that a benchmark that is stopped does not settle on what came first, and if none has finished.
    """
    errors: dict[Place, dict[str, float]] = {}
    for trial in trials:
        record = find_record(trial)
        if record is None:
            error = -math.inf
        elif record["status"] == "finished":
            error = float(record["metrics"].get(_SELECTED_BY, math.inf))
        else:
            error = math.inf
        errors.setdefault(trial.place, {})[trial.trial] = math.inf if math.isnan(error) else error
    best = {place: min(found, key=found.__getitem__) for place, found in errors.items()}
    return {place: name for place, name in best.items() if math.isfinite(errors[place][name])}

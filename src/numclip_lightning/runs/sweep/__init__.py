"""A search for good settings: a space of W&B's kind, trials as Optuna suggests them, their history and the best one."""

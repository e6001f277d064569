"""One run (command, folder, callbacks) and many runs (plan, workers)."""

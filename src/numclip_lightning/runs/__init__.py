"""One run of the Lightning command and its folder; many runs: plan and workers."""

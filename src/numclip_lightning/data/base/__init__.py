"""The bases of the datamodules: lists, splits, folds and checks."""

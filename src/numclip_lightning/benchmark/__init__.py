"""`numclip benchmark`: methods, datasets, folds, seeds and shots as separate runs, and one report of them all."""

"""`numclip benchmark`: many runs from one file, resumed where they stopped, and one report of them all."""

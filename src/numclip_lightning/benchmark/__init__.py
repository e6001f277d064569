"""`numclip benchmark`: many runs from one file, resumed where they stopped, and what follows from them."""

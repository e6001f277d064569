"""The verbs of `numclip` that are not Lightning's, one file each."""

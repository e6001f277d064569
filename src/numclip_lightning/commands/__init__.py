"""The verbs of `numclip` that are not Lightning's, one file each; `cli.VERBS` has a row for each."""

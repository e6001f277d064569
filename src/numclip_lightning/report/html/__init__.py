"""One self-contained page about one or several runs: what they read well, how sure, for whom, and how it was made."""

"""Tables, tests, figures and pages from the files that runs leave."""

"""The pages are true: every block of every page is run, or says that it is output, or what it would take to run it."""

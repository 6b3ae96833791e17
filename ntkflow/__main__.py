"""`python -m ntkflow` is the command line."""

from ntkflow.cli import main

main()

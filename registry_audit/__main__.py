"""Runs the command line for `python -m registry_audit`."""

from registry_audit.cli.main import main

main()

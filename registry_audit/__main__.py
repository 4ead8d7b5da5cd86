"""`python -m registry_audit`."""

from registry_audit.cli.main import main

main()

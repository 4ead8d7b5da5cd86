"""Implements `--submit`, which runs a command as a run of a deployment on the configured Prefect server.

It uses Prefect's REST API and not its client, because a laptop or CI job that starts a run has only the wheel: it needs
neither the checkout nor the seconds that importing Prefect takes.
"""

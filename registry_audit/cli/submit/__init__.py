"""`--submit`: a command's work as a run of a deployment, on the Prefect server that is configured.

Over Prefect's REST API, not its client: who starts a run from a laptop or a CI job has the wheel alone, and needs
neither the checkout nor the seconds that importing Prefect takes.
"""

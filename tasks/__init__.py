"""Prefect tasks: one step a file. Policy is here; order is in the flows, and every decision in `registry_audit`."""

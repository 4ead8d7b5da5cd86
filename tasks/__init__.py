"""Contains the Prefect tasks, one step per file, with their policies.

Flows define the order, and `registry_audit` decides.
"""

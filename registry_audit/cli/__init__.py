"""The command line: stdout is data, stderr is progress, and every way to end has an exit status of its own.

Modules here import the rest of the library inside their functions, so that help and mistakes do not wait for MLflow.
"""

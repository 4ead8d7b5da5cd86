"""Implements the command line: stdout is data, stderr is progress, and every way to end has its own exit status.

Modules here import the rest of the library inside their functions, so that help and error messages do not wait for
MLflow.
"""

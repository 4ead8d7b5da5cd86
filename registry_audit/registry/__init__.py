"""Talking to MLflow: who is asked, what is listed, and where the bytes of a version lie. Read-only."""

"""Describes one model directory: the listing of its files and, once it is read, the manifest of their bytes."""

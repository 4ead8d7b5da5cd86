"""Defines the report's type, writes its files and renders it in every format."""

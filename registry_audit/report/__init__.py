"""The report: its type, its files and every rendering of it."""

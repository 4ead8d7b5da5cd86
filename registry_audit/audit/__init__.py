"""What is said of a version: its copies read, compared, and judged by the rules."""

"""Compares two registries, one made from the other: is everything of the source in the target, unchanged?"""

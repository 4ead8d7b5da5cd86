"""The audit's memory: what was accepted, read and found, append-only and hash-chained.

A baseline is the manifest that somebody accepted for a version. Checking never changes one; accepting is an act
of its own, with a name, a time and a reason.
"""

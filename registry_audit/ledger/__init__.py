"""The ledger records what audits read and found and what people accepted. It is append-only and hash-chained.

A baseline is the manifest that somebody accepted for a version. Checking never changes a baseline; accepting is a
separate command, recorded with a name, a time and a reason.
"""

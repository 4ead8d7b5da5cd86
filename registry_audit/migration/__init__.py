"""Two registries, one made from the other: is everything that was in the source in the target, unchanged?"""

"""How requests are made and bounded: sessions, throttling, retrying, cancelling. Nothing else speaks HTTP."""

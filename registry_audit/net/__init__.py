"""Makes and bounds requests: sessions, throttling, retries, deadlines. No other package speaks HTTP."""

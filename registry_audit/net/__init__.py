"""How requests are made and bounded: sessions, throttling, retries, deadlines. No other room speaks HTTP."""

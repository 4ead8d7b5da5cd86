"""Downloads a registry model that is byte for byte its accepted baseline, or nothing."""

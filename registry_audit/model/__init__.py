"""What one model directory is: a listing of its files, and once read, a manifest of their bytes."""

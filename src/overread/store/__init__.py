"""The only rooms that remember."""

"""Pixels from pixels: pure functions, no files."""

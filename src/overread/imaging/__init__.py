"""Pixels from pixels: pure functions, no files; and the letters that are drawn into them (fonts)."""

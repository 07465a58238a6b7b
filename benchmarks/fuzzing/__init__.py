"""Hostile inputs for the door: seeds of every kind, what is done to them, and the process that has to survive them."""

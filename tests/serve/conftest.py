"""The hospital in small that the tests of this room, and of the promise that stands on it, share."""

from __future__ import annotations

from small_hospital import browser, house, inbox, model, run

__all__ = ["browser", "house", "inbox", "model", "run"]

"""How often and how long we ask other people's computers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Manners:
    """How often and how long we ask.

    Parameters
    ----------
    contact : str
        An address (mail or web) that the user agent carries, so that the site's people can complain to someone.
    pause_s : float
        Between the end of one request to a host and the start of the next.
    tries : int
        Of one request, before it is given up.
    longest_wait_s : float
        The longest Retry-After that is waited for; a longer one ends the run.
    silence_s : float
        Without a byte for so long, an answer is broken.
    longest_s : float
        For one whole answer, however it trickles.
    redirects : int
        From one address to the next, at most.
    keep_days, keep_missing_days : float
        How long a page that was fetched, or was missing, is not asked for again.
    robots : bool
        Obey ``robots.txt``; off only for a single file that a person named.
    """

    contact: str = ""
    pause_s: float = 1.0
    tries: int = 4
    longest_wait_s: float = 120.0
    silence_s: float = 30.0
    longest_s: float = 900.0
    redirects: int = 5
    keep_days: float = 30.0
    keep_missing_days: float = 1.0
    robots: bool = True

"""Which network is planned when nobody named one, by what the cohort is. Loads without Keras."""

from __future__ import annotations

from overread.learn import starts
from overread.learn.plan_cohort import Fingerprint


def by_rule(seen: Fingerprint, *, alone: str = "") -> tuple[str, str]:
    """Return the network that a cohort like this one gets, and why.

    Pictures get a pair: on films, fundus pictures and brain pictures held out it read better than its half from nothing
    (docs/decisions/0020).

    Parameters
    ----------
    seen : Fingerprint
        Of the training cohort.
    alone : str
        Why there can be no start, whatever the cohort is; "" where there can.

    Returns
    -------
    network, reason : str
        A name in `learn.plan.ABOUT`, and words for the plan.

    Examples
    --------
    >>> seen = Fingerprint(n=90, shape=(28, 28, 28), channels=1, modality="", unit="", volumes=90, eight_bit=True)
    >>> by_rule(seen)[0]
    'residual'
    """
    if alone:
        return "residual", alone
    if seen.volumes:
        return "residual", "a start reads three slices of a volume, a network from nothing all of them"
    if seen.channels not in (1, 3):
        return "residual", f"a start sees one channel or three, these pictures have {seen.channels}"
    if not starts.available():
        return "residual", "no start is installed (the extra [starts])"
    return "pair", "the two together read pictures held out better than the one from nothing"

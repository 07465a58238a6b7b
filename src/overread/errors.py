"""Every refusal this package makes, on one page.

A refusal is one line for a person: what came, what was expected, what to do next. It never holds an identifier
(a name, a patient id, a UID, a date). The command line prints it and exits with 1.
"""

from __future__ import annotations


class OverreadError(Exception):
    """A refusal: the input or the state is not one that overread may go on with.

    Parameters
    ----------
    came : str
        What was found, with its numbers ("a 1 × 1 image").
    expected : str
        What would have been accepted ("at least 8 × 8 pixels").
    do : str
        What the person can do next ("export the film at full size").

    Examples
    --------
    >>> print(OverreadError("a 1 × 1 image", expected="at least 8 × 8 pixels", do="export the film at full size"))
    a 1 × 1 image; expected at least 8 × 8 pixels; export the film at full size
    """

    def __init__(self, came: str, *, expected: str = "", do: str = "") -> None:
        self.came, self.expected, self.do = came, expected, do
        super().__init__("; ".join(p for p in (came, f"expected {expected}" if expected else "", do) if p))

    def __reduce__(self):  # keyword-only arguments do not survive pickling between worker processes by themselves
        return (_rebuild, (type(self), self.__dict__.copy()))


def _rebuild(kind: type[OverreadError], state: dict) -> OverreadError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    came, expected, do = state["came"], state["expected"], state["do"]
    Exception.__init__(error, "; ".join(p for p in (came, f"expected {expected}" if expected else "", do) if p))
    return error


class UnreadableFile(OverreadError):
    """A file that is not an image we can read rightly; ``code`` is its reason in ``docs/reasons.md``."""

    def __init__(self, came: str, *, code: str, expected: str = "", do: str = "") -> None:
        self.code = code
        super().__init__(came, expected=expected, do=do)


class NothingToDo(OverreadError):
    """The input holds nothing to work on (an empty folder, a source without images)."""


class LabelError(OverreadError):
    """A label or a label table that cannot be used as given."""


class CohortError(OverreadError):
    """A cohort that cannot answer the question (one class only, too few patients)."""


class ArchiveError(OverreadError):
    """An archive that is missing, of another version, or damaged."""


class RunError(OverreadError):
    """A run that is missing, unfinished, or does not fit what was asked."""


class IntegrityError(OverreadError):
    """Stored bytes do not match their hash, or a journal's chain is broken."""


class SourceError(OverreadError):
    """A place elsewhere (a PACS, a public library) that does not answer, or not as it should."""


class IdentityRefused(OverreadError):
    """Identity could not be removed for certain, so nothing was written (fail closed)."""


class ExportError(OverreadError):
    """An exported graph does not agree with the network it came from."""


class SignatureRefused(OverreadError):
    """A report cannot be signed as asked: the machine, a stranger, or a changed report."""

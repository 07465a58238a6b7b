"""What may be asked beside cross-validation, and what may not: said before any work."""

from __future__ import annotations

from overread.errors import CohortError, RunError
from overread.learn import applications, pretrained_start
from overread.learn import plan as planning
from overread.learn.applications import Brought
from overread.learn.pretrained_start import Given
from overread.stats import crossing
from overread.stats.splits import Split
from overread.steps.start import of_plan, person_of

ONE_AFTER_ANOTHER = "cross-validation alone: what it takes is parts × repeats trainings, which answer together"

BESIDE = {
    "--budget": ONE_AFTER_ANOTHER,
    "--search": ONE_AFTER_ANOTHER,
    "--seeds": ONE_AFTER_ANOTHER,
    "--cluster": "cross-validation on this machine, one network after another",
}
"""Option → what is expected in its place."""

ALONE = {
    "auto": "one network, named: trying several would look at patients who are tested later",
    "simple-cnn": "networks that can answer together, which the article's cannot",
}
"""Network that cannot be cross-validated → what is expected in its place."""


def check(folds: int | None, repeats: int | None, *, network: str | None = None, **beside: object) -> None:
    """Refuse what cannot be cross-validated, before any work.

    Parameters
    ----------
    folds, repeats : int
    network : str, optional
    **beside : object
        Options that do not go together with it, by the words a person typed; anything but None is refused.
    """
    if folds is None:
        raise RunError("--repeats without --folds", expected="both, or --folds alone", do="add --folds 5")
    if not crossing.FEWEST_FOLDS <= folds <= crossing.MOST_FOLDS:
        raise RunError(f"{folds} parts", expected=f"{crossing.FEWEST_FOLDS} to {crossing.MOST_FOLDS}", do="choose another number for --folds")  # fmt: skip
    if repeats is not None and not 1 <= repeats <= crossing.MOST_REPEATS:
        raise RunError(f"{repeats} repeats", expected=f"1 to {crossing.MOST_REPEATS}", do="choose another number for --repeats")  # fmt: skip
    given = [option for option, value in beside.items() if value is not None]
    if given:
        raise RunError(
            f"{', '.join(given)} beside --folds", expected=BESIDE[given[0]], do=f"leave out {given[0]}"
        )  # fmt: skip
    if network in ALONE:
        raise RunError(f"--network {network} beside --folds", expected=ALONE[network], do="leave out --network, or name another")  # fmt: skip


UNSEEN = "networks that begin with nothing that was learned from these patients: each of them is tested in turn"
"""What is expected of a start."""


def refuse_plan(drawn: planning.Plan, split: Split) -> None:
    """Refuse a person's plan for what the options are refused for, too.

    Raises
    ------
    RunError, CohortError
    """
    brought = drawn.start.get("name") == applications.NAME
    for given, came, expected in (
        (brought, "weights of a file, and nobody here knows whom they have seen", UNSEEN),
        (drawn.network in ALONE, f"the network {drawn.network}", ALONE.get(drawn.network)),
    ):
        if given:
            raise RunError(f"the plan says: {came}, beside --folds", expected=expected, do="change that part of it")
    if drawn.start.get("name") == pretrained_start.NAME:
        refuse_start(of_plan(drawn), split)


def refuse_start(given: Given | Brought | None, split: Split) -> None:
    """Refuse a start that has learned from any patient, or picture, of the cohort: all of them are tested.

    Parameters
    ----------
    given : Given, Brought or None
    split : Split
        With all patients in one cohort.

    Raises
    ------
    RunError
        Where nobody can know whom it has seen.
    CohortError
    """
    if given is None:
        return
    if isinstance(given, Brought):
        raise RunError("--start with weights of a file beside --folds: nobody here knows whom they have seen", expected=UNSEEN, do="leave out --start")  # fmt: skip
    every = [entry for entries in split.cohorts.values() for entry in entries]
    pictures, people = given.knows((e[0] for e in every), (person_of(e) for e in every))
    if pictures or people:
        raise CohortError(
            f"a start that has learned from {pictures:,} pictures and {people:,} patients of this cohort, beside --folds",
            expected=UNSEEN,
            do="learn one from other patients (`overread pretrain` on another archive), or leave out --folds or --start",
        )

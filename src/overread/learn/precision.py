"""Products in bfloat16: who may ask for them, and which processor has them. Loads without Keras."""

from __future__ import annotations

import platform
from pathlib import Path

from overread.errors import RunError
from overread.learn.plan import Plan, changed
from overread.learn.plan_checks import check_together

NAMES = ("float32", "bfloat16")

INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
"""Names under which Linux lists a processor's instructions for such products, any of which will do."""


def refuse(flags: str | None = None) -> None:
    """Refuse where the processor has no instructions for it: there such a step takes longer, not shorter.

    Parameters
    ----------
    flags : str, optional
        The processor's instructions; read from Linux when not given.

    Raises
    ------
    RunError
    """
    if flags is None:
        told = Path("/proc/cpuinfo")
        flags = told.read_text() if told.exists() else ""
    if not any(word in flags.split() for word in INSTRUCTIONS):
        raise RunError(
            f"precision bfloat16 on a processor ({platform.machine()}) that does not multiply so",
            expected="AVX512_BF16 or AMX_BF16 among its instructions",
            do='leave out --precision, or write [optimiser] precision = "float32" into the plan',
        )


def refuse_of(plan: Plan) -> None:
    """Refuse a plan that this processor cannot execute, before any work.

    Raises
    ------
    RunError
    """
    if plan.optimiser.get("precision") == "bfloat16":
        refuse()


def check(precision: str | None, *, network: str | None = None, **beside: object) -> None:
    """Refuse what cannot be asked, before any work.

    Parameters
    ----------
    precision : {"float32", "bfloat16"}, optional
    network : str, optional
        As a person named it.
    **beside : object
        Options that do not go together with bfloat16, by the words a person typed; anything but None is refused.

    Raises
    ------
    RunError

    Examples
    --------
    >>> check(None, network="pair"), check("float32", network="pair")
    (None, None)
    """
    if precision is not None and precision not in NAMES:
        raise RunError(f"the precision {precision!r}", expected="one of " + ", ".join(NAMES), do="name one of these")
    if precision != "bfloat16":
        return
    given = [option for option, value in beside.items() if value is not None]
    given += [f"--network {network}"] if network not in (None, "residual") else []
    if given:
        raise RunError(
            f"--precision bfloat16 beside {given[0]}", expected=ALONE, do=f"leave out --precision, or {given[0]}"
        )
    refuse()


ALONE = "the residual network from nothing, trained by one process"
"""What learns with products in bfloat16."""


def at(plan: Plan, precision: str | None) -> Plan:
    """Return the plan with its products at a precision; the plan as it is for float32, which is what no word means.

    Raises
    ------
    RunError
        Where the plan is of a network that does not learn so.

    Examples
    --------
    >>> from overread.domain import Task
    >>> from overread.learn import plan as planning
    >>> seen = planning.Fingerprint(90, (1, 28, 28), 1, "", "stored", 0, eight_bit=True)
    >>> drawn = planning.draw_up(Task(("x",), "binary", "x"), seen, network="residual", seed=0)
    >>> at(drawn, "bfloat16").optimiser["precision"], at(drawn, "float32") is drawn
    ('bfloat16', True)
    """
    if precision != "bfloat16":
        return plan
    before = plan.parts["optimiser"].get("reason", "")
    reason = (
        "products in bfloat16, as was asked: convolutions with numbers of 16 bits, all sums, weights and the exported graph "
        "in 32. The weights are others than those of float32; small pictures and small volumes were read as well within .0015 "
        "of AUROC, films were not measured"
    )
    found = changed(plan, "optimiser", f"{before}; {reason}" if before else reason, precision=precision)
    try:
        check_together(found.parts)
    except RunError:
        raise RunError(
            f"--precision bfloat16 for the network {plan.network!r}, which this cohort gets",
            expected=ALONE,
            do="add --network residual, or leave out --precision",
        ) from None
    return found

"""How often does a cross-validated interval hold the truth? Made-up cohorts, trained anew each time, truth in closed form.

Two classes of patients, normal in 30 numbers; a ridge line learns them, in 5 parts drawn 3 times as ``train --folds 5
--repeats 3`` does, probabilities and operating point learned inside. The exported line is the mean of the fifteen, so
that its AUROC on all patients there could be, its sensitivity and its specificity are known exactly. Three truths are asked:
of lines as they were tested, which learned from four parts of this cohort; of the procedure (their mean over cohorts);
and of the exported line of this cohort, which all patients taught and which is better than what was tested. Beside it stands the one
fifth of one division, and what counting the fifteen parts as independent would say.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from overread.learn import linear_head
from overread.stats import calibration, conformal, crossing
from overread.stats.guarantee import operating_point
from overread.stats.metrics import binary_figures
from overread.stats.ranking import auroc
from overread.stats.resample import cases

NUMBERS, PENALTY, SENSITIVITY = 30, 0.1, 0.8
FIGURES = ("auroc", "sensitivity", "specificity", "brier")


@dataclass(frozen=True)
class Setting:
    """A kind of cohort: patients, how far apart the classes lie, how a part's calibration patients are found."""

    n: int
    apart: float
    inner: bool
    folds: int = 5
    repeats: int = 3


def direction(apart: float) -> np.ndarray:
    """Return how far the classes lie apart in each number: five carry it."""
    return apart * np.r_[np.ones(5), np.zeros(NUMBERS - 5)] / np.sqrt(5)


def cohort(setting: Setting, rng: np.random.Generator, n: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of patients, (n, 30), and their answers, (n, 1): 4 of 10 have the finding."""
    y = rng.permutation(np.arange(n or setting.n) % 10 < 4).astype(float)[:, None]
    return rng.normal(size=(len(y), NUMBERS)) + y * direction(setting.apart), y


def line(x: np.ndarray, y: np.ndarray) -> linear_head.Line:
    (found,) = linear_head.path(x, y, several=False, penalties=[PENALTY])
    return found


def study(seed: int, setting: Setting) -> dict[str, dict[str, float]]:
    """Return, by figure, what one cohort says (value, ends plain and widened) and what is true of its exported line."""
    rng = np.random.default_rng([seed, setting.n, int(100 * setting.apart), setting.inner])
    x, y = cohort(setting, rng)
    who = [f"P{i}" for i in range(setting.n)]
    drawn = np.stack([crossing.parts(y, who, folds=setting.folds, rng=rng) for _ in range(setting.repeats)])
    lines, raw, each = [], np.zeros((setting.repeats, *y.shape)), []
    for repeat, part in enumerate(drawn):
        for k in range(setting.folds):
            own = line(x[part != k], y[part != k])
            z = own.logits(x[part == k])
            raw[repeat, part == k] = z
            lines.append(own)
            each.append(auroc(cases(y[part == k, 0], z[:, 0], None)).value)
    answered, straight = [], []
    for repeat, part in enumerate(drawn):
        row = []
        for k in range(setting.folds):
            rest, z = np.flatnonzero(part != k), raw[repeat, part == k]
            again = raw[repeat, rest]
            if setting.inner:
                again = linear_head.out_of_fold(x[rest], y[rest], several=False, groups=rest, rng=rng, penalty=PENALTY)
            known = (again, y[rest], [who[i] for i in rest])
            two = np.concatenate([z, [[0.0], [1.0]]])
            found = crossing.answer(two, known, kind="binary", sensitivity=SENSITIVITY, rng=rng)
            row.append(found.at(range(len(z))))
            straight.append(as_tested(lines[repeat * setting.folds + k], found))
        answered.append(row)
    crossed = crossing.together(drawn, answered)
    told = figures(crossed, y)
    alone = [figures(crossed.once(r), y) for r in range(setting.repeats)]
    w, b = np.mean([m.kernel for m in lines], axis=0)[:, 0], np.mean([m.bias for m in lines])
    mean = raw.mean(axis=0)
    fitted = calibration.fit(mean, y, who, kind="binary", rng=rng)
    p = fitted.probabilities(mean)
    limit = operating_point(p[:, 0], y[:, 0], who, sensitivity=SENSITIVITY)["threshold"]
    sets = conformal.fit(np.stack([1 - p[:, 0], p[:, 0]], axis=1), y[:, 0], who)
    fresh, answers = cohort(setting, rng, 20_000)
    true = truth(w, b, fitted, limit, setting) | covers(sets, fitted, w, b, fresh, answers)
    tested = told_of_tested(np.array(straight).reshape(setting.repeats, setting.folds, -1), setting, fresh, answers)
    true["brier"] = float(((fitted.probabilities(fresh @ w[:, None] + b) - answers) ** 2).mean())
    found: dict[str, dict[str, float]] = {}
    for name in FIGURES:
        plain, wide = told[name], crossing.widened(told[name], [a[name].value for a in alone], folds=setting.folds)
        found[name] = {
            "value": plain.value, "low": plain.low, "high": plain.high, "wide_low": wide.low, "wide_high": wide.high,
            "true": tested[name], "exported": true[name],
        }  # fmt: skip
    mean, spread = np.mean(each), stats.norm.ppf(0.975) * np.std(each, ddof=1) / np.sqrt(len(each))
    found["auroc"] |= {
        "naive_low": mean - spread,
        "naive_high": mean + spread,
        "once": one_division(setting, x, y, rng),
    }
    found["sets"] = {"absent": true["absent"], "present": true["present"]}
    return found


def as_tested(own: linear_head.Line, found: crossing.Crossed) -> np.ndarray:
    """Return what a part was asked, as one line on a patient's numbers: weights, constant, and where it calls."""
    at_0, at_1 = (float(np.log(p / (1 - p))) for p in found.probability[0, -2:, 0])
    limit = float(found.threshold[0, 0, 0])
    slope = at_1 - at_0
    return np.r_[slope * own.kernel[:, 0], slope * own.bias[0] + at_0, np.log(limit / (1 - limit))]


def told_of_tested(lines: np.ndarray, setting: Setting, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return what is true, on the mean over the parts, of answers that one line of each repeat gives together."""
    rows = []
    for row in lines.mean(axis=0):
        w, b, z = row[:-2], row[-2], row[-1]
        length, far = np.linalg.norm(w), float(w @ direction(setting.apart))
        p = 1 / (1 + np.exp(-(x @ w + b)))
        rows.append(
            [
                stats.norm.cdf(far / (np.sqrt(2) * length)), stats.norm.cdf((far + b - z) / length),
                stats.norm.cdf((z - b) / length), ((p - y[:, 0]) ** 2).mean(),
            ]
        )  # fmt: skip
    return dict(zip(FIGURES, np.mean(rows, axis=0).tolist(), strict=True))


def figures(crossed: crossing.Crossed, y: np.ndarray):
    return binary_figures(y[:, 0], crossed.mean[:, 0], called=crossed.called[:, 0], threshold=None)


def one_division(setting: Setting, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> float:
    """Return the width of the AUROC's interval when a fifth of the patients is tested, once."""
    part = crossing.parts(y, range(len(y)), folds=5, rng=rng)
    found = auroc(cases(y[part == 0, 0], line(x[part != 0], y[part != 0]).logits(x[part == 0])[:, 0], None))
    return found.high - found.low


def truth(w: np.ndarray, b: float, fitted, limit: float, setting: Setting) -> dict[str, float]:
    """Return what is true of a line on all patients there could be."""
    length, far = np.linalg.norm(w), float(w @ direction(setting.apart))
    z = (np.log(limit / (1 - limit)) - fitted.intercept[0]) / fitted.slope[0]
    return {
        "auroc": float(stats.norm.cdf(far / (np.sqrt(2) * length))),
        "sensitivity": float(stats.norm.cdf((far + b - z) / length)),
        "specificity": float(stats.norm.cdf((z - b) / length)),
    }


def covers(sets, fitted, w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return how many of very many new patients have their answer in its set, by answer."""
    p = fitted.probabilities(x @ w[:, None] + b)[:, 0]
    held = sets.possible(np.stack([1 - p, p], axis=1))
    return {name: float(held[y[:, 0] == k, k].mean()) for k, name in enumerate(("absent", "present"))}


def table(found: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return coverage, bias and width of each figure over many cohorts."""
    rows: dict[str, dict[str, float]] = {}
    for name in FIGURES:
        v = {k: np.array([f[name][k] for f in found], float) for k in found[0][name]}
        middle = v["true"].mean()
        rows[name] = {
            "true": middle,
            "exported": v["exported"].mean(),
            "bias": (v["value"] - v["true"]).mean(),
            "plain_exported": np.mean((v["low"] <= v["exported"]) & (v["exported"] <= v["high"])),
            "wide_exported": np.mean((v["wide_low"] <= v["exported"]) & (v["exported"] <= v["wide_high"])),
            "plain_own": np.mean((v["low"] <= v["true"]) & (v["true"] <= v["high"])),
            "wide_own": np.mean((v["wide_low"] <= v["true"]) & (v["true"] <= v["wide_high"])),
            "plain_procedure": np.mean((v["low"] <= middle) & (middle <= v["high"])),
            "wide_procedure": np.mean((v["wide_low"] <= middle) & (middle <= v["wide_high"])),
            "width": (v["wide_high"] - v["wide_low"]).mean(),
        }
        if "naive_low" in v:
            rows[name]["naive_procedure"] = np.mean((v["naive_low"] <= middle) & (middle <= v["naive_high"]))
            rows[name]["once_width"] = np.nanmean(v["once"])
    for answer in ("absent", "present"):
        rows[f"set of {answer}"] = {"covered": np.mean([f["sets"][answer] for f in found])}
    return {name: {k: round(float(x), 3) for k, x in row.items()} for name, row in rows.items()}


def main(argv: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--studies", type=int, default=200)
    p.add_argument("--patients", type=int, nargs="+", default=[60, 100, 200, 300])
    p.add_argument("--apart", type=float, nargs="+", default=[0.0, 1.0, 2.0], help="0: nothing to learn")
    p.add_argument("--processes", type=int, default=1)
    o = p.parse_args(argv)
    for n in o.patients:
        for apart in o.apart:
            for inner in (True, False):
                setting = Setting(n, apart, inner)
                with ProcessPoolExecutor(o.processes) as pool:
                    found = list(pool.map(partial(study, setting=setting), range(o.studies), chunksize=8))
                told = {"patients": n, "apart": apart, "calibrated": "inner parts" if inner else "the other parts"}
                print(json.dumps({**told, **table(found)}), flush=True)


if __name__ == "__main__":
    main()

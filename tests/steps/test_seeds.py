"""The spread over seeds: of networks of one run, or of runs that differ by their seed, and of nothing else."""

from __future__ import annotations

import csv
import io
import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from small_run import NOW, fill, sealed_again, small_run, spots

from overread.errors import RunError
from overread.steps.evaluate import evaluate
from overread.steps.run import write_json
from overread.steps.scores import read_scores
from overread.store.archive import Archive


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("seeds")
    pictures, there = spots(400, seed=1)
    with fill(home / "archive", pictures, [{"spot": bool(t)} for t in there]) as archive:
        return small_run(home, archive, "spot")


def another_seed(run, to, seed, **changed):
    """The same run as another seed would have left it: other raw scores, otherwise the same."""
    shutil.copytree(run, to)
    shaken(run / "scores.csv", to / "scores.csv", seed)
    write_json(to / "plan.json", json.loads((run / "plan.json").read_text()) | {"seed": seed} | changed)
    sealed_again(to)
    return to


def shaken(scores, to, seed):
    rng = np.random.default_rng(seed)
    rows = list(csv.DictReader(scores.read_text().splitlines()))
    out = io.StringIO()
    sheet = csv.DictWriter(out, rows[0], lineterminator="\n")
    sheet.writeheader()
    sheet.writerows([row | {"logit:spot": f"{float(row['logit:spot']) + rng.normal():.6f}"} for row in rows])
    to.write_text(out.getvalue())


def aurocs(*tables):
    found = []
    for table in tables:
        rows = read_scores(table, ["spot"]).of("testing")
        found.append(roc_auc_score(rows.truth[:, 0], rows.logits[:, 0]))
    return found


def test_one_network_has_no_spread(run):
    assert evaluate(run, now=NOW).metrics["seed_spread"] == {}
    assert "differ by their seed" not in (run / "report.html").read_text()


def test_the_networks_of_one_run_are_told_by_scikit_learns_figures(run, tmp_path):
    several = tmp_path / "several"
    shutil.copytree(run, several)
    tables = [several / f"scores.seed-{k}.csv" for k in range(3)]
    for k, table in enumerate(tables):
        shaken(run / "scores.csv", table, k)
    sealed_again(several)
    evaluation = evaluate(several, now=NOW)
    told, each = evaluation.metrics["seed_spread"]["spot"], aurocs(*tables)
    assert told["n"] == 3 and set(told) == {"n", "mean", "sd", "low", "high"}
    assert told["mean"] == pytest.approx(np.mean(each)) and told["sd"] == pytest.approx(np.std(each, ddof=1))
    assert (told["low"], told["high"]) == pytest.approx((min(each), max(each)))
    page = (several / "report.html").read_text()
    assert "over 3 networks that differ by their seed only" in page and f"{told['mean']:.3f} ± {told['sd']:.3f}" in page
    assert "over 3 seeds" in str(evaluation)
    assert 'data-item="25" data-state="answered"' in page


def test_runs_that_differ_by_their_seed_are_read_together_and_each_read_is_counted(run, tmp_path):
    others = [another_seed(run, tmp_path / f"run{k}", k) for k in (1, 2)]
    told = evaluate(run, seeds_from=others, now=NOW).metrics["seed_spread"]["spot"]
    assert told["n"] == 3
    assert told["mean"] == pytest.approx(np.mean(aurocs(*(r / "scores.csv" for r in (run, *others)))))
    assert all((other / "testing-reads.jsonl").exists() for other in others)
    two = evaluate(run, seeds_from=others[:1], now=NOW)
    page = (run / "report.html").read_text()
    assert two.metrics["seed_spread"]["spot"]["n"] == 2 and "Two say little" in page
    assert 'data-item="25" data-state="not measured"' in page


@pytest.mark.parametrize(
    ("change", "seed", "said"), [({"epochs": 3}, 1, "more than its seed: epochs"), ({}, 0, "1 different seeds")]
)
def test_a_run_that_differs_by_more_or_by_nothing_is_refused(run, tmp_path, change, seed, said):
    with pytest.raises(RunError, match=said):
        evaluate(run, seeds_from=[another_seed(run, tmp_path / "other", seed, **change)], now=NOW)


def test_a_run_measured_on_other_images_is_refused(run, tmp_path):
    other = another_seed(run, tmp_path / "other", 3)
    text = (other / "scores.csv").read_text().splitlines()
    kept = [line for i, line in enumerate(text) if not (line.startswith("testing") and i % 3 == 0)]
    (other / "scores.csv").write_text("\n".join(kept) + "\n")
    sealed_again(other)
    with pytest.raises(RunError, match=r"not measured on 2\d of the 80 testing images"):
        evaluate(run, seeds_from=[other], now=NOW)


def test_several_levels_have_a_spread_of_their_own_and_another_archive_has_none(tmp_path):
    pictures, _ = spots(240, seed=3)
    bright = np.arange(240) % 3
    pictures = np.clip(pictures.astype(int) + 25 * bright[:, None, None], 0, 255).astype(np.uint8)
    with fill(tmp_path / "archive", pictures, [{"class": "abc"[b]} for b in bright]) as archive:
        levels = small_run(tmp_path, archive, "class")
    for k in range(2):
        shutil.copy(levels / "scores.csv", levels / f"scores.seed-{k}.csv")
    sealed_again(levels)
    told = evaluate(levels, now=NOW).metrics["seed_spread"]
    assert set(told) == {"class", "class=a", "class=b", "class=c"} and told["class"]["sd"] == 0
    assert told["class"]["mean"] == pytest.approx(np.mean([told[f"class={v}"]["mean"] for v in "abc"]))
    with Archive.open(tmp_path / "archive"):
        other = evaluate(levels, on=tmp_path / "archive", now=NOW)
    assert other.metrics["seed_spread"] == {} and str(other).endswith(f"\nreport: {other.report}")
    reads = (levels / "testing-reads.jsonl").read_bytes()
    with pytest.raises(RunError, match="one of the two: the spread over seeds is told of the run's own testing cohort"):
        evaluate(levels, on=tmp_path / "archive", seeds_from=[levels], now=NOW)
    assert (levels / "testing-reads.jsonl").read_bytes() == reads  # nobody's testing cohort was counted as read

"""A doctor's Decision makes a Report final. Nothing else does.

The order cannot be changed by anyone who talks to the server: own impression → the finding opens → an answer to
every finding → the signature. Each step is a record in the journal, and what a reader has done so far *is* what the
journal says: there is no second memory that could differ. A signature holds for one fingerprint of one report.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from overread.domain import Answer, Decision, ModelCard, canonical_json, fingerprint
from overread.errors import IntegrityError, SignatureRefused
from overread.formats import evidence
from overread.formats.filing import header
from overread.serve.answers import CHANGED, SIGNED, STATES, checked, person
from overread.serve.inbox import Draft, Inbox
from overread.store.objects import write_atomically
from overread.store.shelf import refuse_unrecorded


@dataclass(frozen=True)
class Reading:
    """What one reader has done with one report: the impression, and what was opened after it."""

    impressions: Mapping[str, str]
    time: str
    heat_maps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Signature:
    """One signed version of a study's report; ``left`` names the questions that the machine had left to the doctor."""

    version: int
    report: str
    reader: str
    time: str
    answers: tuple[Answer, ...]
    document: str = ""
    left: tuple[str, ...] = ()


@dataclass
class _Memory:
    """The journal, folded: readings by (study, report, reader), who has seen any finding, signatures by study."""

    readings: dict[tuple[str, str, str], Reading] = field(default_factory=dict)
    openings: dict[str, set[str]] = field(default_factory=dict)
    signed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class Desk:
    """Where doctors read: keeps the order of impression, finding and signature for every study of an inbox.

    Parameters
    ----------
    inbox : Inbox
    card : ModelCard
        Of the machine; its name can never be a reader's.

    Raises
    ------
    IntegrityError
        If the journal was touched, or knows nothing of what lies signed on the shelf: nobody reads or signs on a
        journal that cannot be trusted.
    """

    def __init__(self, inbox: Inbox, card: ModelCard, *, now: datetime) -> None:
        self.inbox, self.card = inbox, card
        self._lock = threading.RLock()
        inbox.journal.recover(now=now)
        inbox.journal.verify()
        refuse_unrecorded(inbox.shelf, inbox.journal.records())
        self._memory = _Memory()
        for record in inbox.journal.records():
            self._remember(record["kind"], record["record"], record["time"])
        self._finish_signatures(now)

    # --- reading ---------------------------------------------------------------------------------------------

    def impression(self, study: str, *, reader: str, states: Mapping[str, str], now: datetime) -> Reading:
        """Store the reader's own impression, made before the finding was shown; it cannot be changed afterwards.

        Raises
        ------
        SignatureRefused
            If a question is left open, an answer is none of the three, or an impression was given already.
        """
        reader = person(reader, self.card)
        with self._lock:
            report = self._draft(study).report
            if (study, report.fingerprint, reader) in self._memory.readings:
                raise SignatureRefused(
                    "an impression was given already", expected="one, before the finding", do="go on with the finding"
                )
            wanted = [f.label for f in report.findings]
            if set(states) != set(wanted) or any(s not in STATES for s in states.values()):
                raise SignatureRefused(
                    "not every question has your impression",
                    expected="present, absent or unsure for each",
                    do="answer each one",
                )
            facts = {
                "study": study,
                "report": report.fingerprint,
                "reader": reader,
                "impressions": {label: states[label] for label in wanted},
                "finding_seen_before": reader in self._memory.openings.get(study, ()),
            }
            self._record("impression", facts, now)
            return self._memory.readings[study, report.fingerprint, reader]

    def reading(self, study: str, reader: str) -> Reading | None:
        """What this reader has done with the report as it is now; None before the own impression."""
        draft = self.inbox.draft(study)
        return self._memory.readings.get((study, draft.report.fingerprint, reader)) if draft else None

    def open_heat_map(self, study: str, *, reader: str, label: str, now: datetime) -> None:
        """Open a heat-map, which stays closed until somebody asks, and write down that it was asked for.

        Raises
        ------
        SignatureRefused
            Before the own impression, or for a question without a heat-map.
        """
        with self._lock:
            draft = self._draft(study)
            if self.reading(study, reader) is None:
                raise _impression_first()
            if label not in draft.overlays:
                raise SignatureRefused(
                    "there is no heat-map for this", expected="a finding that has one", do="go on without"
                )
            self._record(
                "heat-map", {"study": study, "report": draft.report.fingerprint, "reader": reader, "label": label}, now
            )

    # --- signing ---------------------------------------------------------------------------------------------

    def sign(
        self,
        study: str,
        *,
        session: str,
        typed: str,
        shown: str,
        version: int,
        answers: Iterable[Answer | Mapping[str, str]],
        now: datetime,
    ) -> Signature:
        """Make the report final as this reader says, finding by finding.

        Parameters
        ----------
        session : str
            Who gave the impression (family^given).
        typed : str
            The name typed under the signature; must be the same.
        shown : str
            Fingerprint of the report that was on the screen.
        version : int
            The version this will be: 1 for the first signature, one more for each amendment.
        answers : mappings
            ``label``, ``verdict``, ``final``, ``reason`` of each finding.

        Raises
        ------
        SignatureRefused
            For a machine, a stranger, a changed report, a missing answer, a disagreement without a reason,
            a version that is signed already; nothing is then written.
        """
        reader = person(typed, self.card)
        if reader != session:
            raise SignatureRefused(
                "the name under the signature is not the reader's",
                expected="the name you read under",
                do="type it again, or change the reader",
            )
        with self._lock:
            draft = self._draft(study)
            report = draft.report
            if shown != report.fingerprint:
                raise SignatureRefused(
                    CHANGED, expected="the report you saw", do="read it again; your signature was not used"
                )
            done = self.reading(study, reader)
            if done is None:
                raise _impression_first()
            if version != len(self._memory.signed.get(study, ())) + 1:
                raise SignatureRefused(
                    SIGNED, expected="a new version", do="look at what was signed; amend it if you must"
                )
            decision = Decision(
                report.fingerprint,
                reader,
                checked(report, done.impressions, answers),
                now.isoformat(),
                _shown(done, now),
            )
            return self._write(study, draft, decision, version, now)

    def signatures(self, study: str) -> list[Signature]:
        """All signed versions of a study, the first one first."""
        found = []
        for told in self._memory.signed.get(study, ()):
            kept = self._kept(study, told)
            answers = tuple(Answer(**a) for a in kept["decision"]["answers"])
            left = tuple(f["label"] for f in kept["report"]["findings"] if f["decision"] == "refer")
            facts = (told["version"], told["report"], told["reader"], kept["decision"]["time"])
            found.append(Signature(*facts, answers, told["document"], left))
        return found

    # --- what is written -------------------------------------------------------------------------------------

    def _write(self, study: str, draft: Draft, decision: Decision, version: int, now: datetime) -> Signature:
        """Documents first (as pending), then the journal, then the documents' names: the journal decides."""
        home = self.inbox.home(study)
        kept = {"decision": decision, "report": draft.report, "model": draft.model, "version": version}
        contents = {f"signed-{version}.json": canonical_json(kept).encode()}
        document = self._document(study, draft, decision, now)
        if document:
            contents[f"signed-{version}.dcm"] = document
        for name, content in contents.items():
            write_atomically(home / f"{name}.pending", content)
        facts = {
            "study": study,
            "version": version,
            "report": decision.report,
            "decision": fingerprint(decision),
            "reader": decision.reader,
            "answers": [
                {"label": a.label, "impression": a.impression, "verdict": a.verdict, "final": a.final}
                for a in decision.answers
            ],
            "shown": decision.shown,
            "document": f"signed-{version}.dcm" if document else "",
            "files": {f"studies/{study}/{n}": hashlib.sha256(c).hexdigest() for n, c in contents.items()},
        }
        self._record("signed", facts, now)
        self._finish(home, contents)
        return self.signatures(study)[-1]

    def _document(self, study: str, draft: Draft, decision: Decision, now: datetime) -> bytes:
        """The verified Structured Report; b"" for a picture, which has no study in a hospital to file it under."""
        if not draft.sr:
            return b""
        before = self._memory.signed.get(study, ())
        home = self.inbox.home(study)
        amends = header(home / before[-1]["document"]) if before and before[-1]["document"] else None
        verified = evidence.verified_sr(header(home / draft.sr), decision, draft.report, now=now, amends=amends)
        return evidence.as_bytes(verified)

    def _finish(self, home: Path, names: Iterable[str]) -> None:
        for name in names:
            pending = home / f"{name}.pending"
            if pending.exists():
                pending.replace(home / name)

    def _finish_signatures(self, now: datetime) -> None:
        """After a crash: documents the journal knows get their name; others were never signed and are put aside."""
        for told in (t for versions in self._memory.signed.values() for t in versions):
            home = self.inbox.home(told["study"])
            self._finish(home, [Path(f).name for f in told["files"]])
        for pending in sorted((self.inbox.shelf / "studies").glob("*/signed-*.pending")):
            aside = pending.with_name(f"unsigned-{now:%Y%m%dT%H%M%S}-{pending.name.removesuffix('.pending')}")
            self.inbox.journal.append("unfinished", {"study": pending.parent.name, "kept_as": aside.name}, now=now)
            pending.replace(aside)

    def _kept(self, study: str, told: Mapping[str, Any]) -> dict[str, Any]:
        """The signed record, as its hash in the journal says."""
        content = (self.inbox.home(study) / f"signed-{told['version']}.json").read_bytes()
        if hashlib.sha256(content).hexdigest() != told["files"][f"studies/{study}/signed-{told['version']}.json"]:
            raise IntegrityError(
                "a signed record that is not as it was signed",
                expected="the hash in the journal",
                do="put it back from a copy",
            )
        return json.loads(content)

    def _draft(self, study: str) -> Draft:
        draft = self.inbox.draft(study)
        if draft is None:
            raise SignatureRefused(
                "no report on this study yet", expected="a study the machine has finished", do="wait for the worklist"
            )
        return draft

    def _record(self, kind: str, facts: Mapping[str, Any], now: datetime) -> None:
        self.inbox.journal.append(kind, facts, now=now)
        self._remember(kind, facts, now.isoformat())

    def _remember(self, kind: str, facts: Mapping[str, Any], time: str) -> None:
        if kind == "impression":
            self._memory.readings[facts["study"], facts["report"], facts["reader"]] = Reading(
                facts["impressions"], time
            )
            self._memory.openings.setdefault(facts["study"], set()).add(facts["reader"])
        elif kind == "heat-map":
            key = facts["study"], facts["report"], facts["reader"]
            old = self._memory.readings[key]
            if facts["label"] not in old.heat_maps:
                self._memory.readings[key] = Reading(old.impressions, old.time, (*old.heat_maps, facts["label"]))
        elif kind == "signed":
            self._memory.signed.setdefault(facts["study"], []).append(dict(facts))


def _shown(done: Reading, now: datetime) -> dict[str, str]:
    """What was before the reader's eyes when they signed."""
    seconds = (now - datetime.fromisoformat(done.time)).total_seconds()
    return {
        "heat_maps": ", ".join(done.heat_maps) or "none",
        "impression_at": done.time,
        "seconds_from_impression": f"{seconds:.0f}",
    }


def _impression_first() -> SignatureRefused:
    return SignatureRefused(
        "your own impression comes first",
        expected="present, absent or unsure for each question",
        do="give it at the reading page",
    )

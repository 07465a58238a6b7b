"""The nouns: frozen dataclasses that have never heard of DICOM, Keras or SQL."""

from overread.domain.canonical import canonical_json, fingerprint
from overread.domain.card import ModelCard
from overread.domain.estimate import Estimate
from overread.domain.image import Geometry, Image
from overread.domain.notes import code_of, noted, sentence_of
from overread.domain.report import Answer, Decision, Finding, Report
from overread.domain.study import COHORT_WORDS, COHORTS, Cohort, LabelValue, Study
from overread.domain.task import Recipe, Step, Task

__all__ = [
    "COHORTS",
    "COHORT_WORDS",
    "Answer",
    "Cohort",
    "Decision",
    "Estimate",
    "Finding",
    "Geometry",
    "Image",
    "LabelValue",
    "ModelCard",
    "Recipe",
    "Report",
    "Step",
    "Study",
    "Task",
    "canonical_json",
    "code_of",
    "fingerprint",
    "noted",
    "sentence_of",
]

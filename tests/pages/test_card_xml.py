"""The card as XML is what its schema asks, whatever is known or not; told by a second author's validator."""

from __future__ import annotations

from dataclasses import replace

import pytest
import xmlschema
from made_card import NEEDED, card

from overread.pages.card_xml import UNKNOWN, render_card_xml

SIGNATURE = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="http://www.w3.org/2000/09/xmldsig#">
<xs:element name="Signature" type="xs:string"/></xs:schema>"""
"""The schema imports the one of XML signatures from the web; a card of ours has none, and a test fetches nothing."""

FIGURE = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 100, "n_patients": 90, "method": "Wilson"}
NOT_DEFINED = {"value": None, "low": None, "high": None, "n": 0, "n_patients": 0, "method": "not defined: no case"}


@pytest.fixture(scope="module")
def schema(shared_data, tmp_path_factory):
    """The published schema 0.2."""
    path = shared_data / "model_card_schema" / "v0.2" / "schema.xsd"
    if not path.is_file():
        pytest.skip("the model card's schema is not on this machine")
    room = tmp_path_factory.mktemp("schema")
    (room / "signature.xsd").write_text(SIGNATURE)
    text = path.read_text().replace("http://www.w3.org/TR/xmldsig-core/xmldsig-core-schema.xsd", "signature.xsd")
    (room / "schema.xsd").write_text(text)
    return xmlschema.XMLSchema(room / "schema.xsd")


def metrics(**more):
    labels = {"mass": {"auroc": FIGURE, "sensitivity": FIGURE, "lr_plus": NOT_DEFINED, "slope": FIGURE}}
    return {
        "labels": labels, "floors": {"majority": {"mass": {"auroc": FIGURE}}, "simple-cnn": {"absent": "not trained"}},
        "split": {"unit": "patient", "source": "drawn"}, "unit": {"images": 100, "patients": None}, "on": "testing cohort",
        "subgroups": [], **more,
    }  # fmt: skip


def test_patients_are_claimed_only_where_they_are_known():
    nobody = render_card_xml(card(), metrics(split={"unit": "study", "source": "drawn"}), {})
    assert "patients held out" not in nobody and "by patient" not in nobody and "Patients are divided" not in nobody
    assert (
        nobody.count("internal, studies (patients unknown) held out")
        == nobody.count("as not all patients are known")
        == 3
    )
    known = render_card_xml(card(), metrics(unit={"images": 100, "patients": 90}), {})
    assert known.count("internal, patients held out") == known.count("95 % intervals by patient.") == 3


def test_the_schema_and_its_example_agree(schema, shared_data):
    assert schema.is_valid(shared_data / "model_card_schema" / "example.xml")


def test_a_card_without_any_answer_is_valid_and_names_what_is_unknown(schema):
    xml = render_card_xml(card(), metrics(), {})
    schema.validate(xml)
    assert xml.count(UNKNOWN) > 10


def test_a_card_with_every_answer_is_valid_and_escapes_them(schema):
    answers = dict.fromkeys(NEEDED, 'a < b & "c" ]]> \x07 é') | {"developer": "us"}
    groups = [{"stratum": "sex", "value": "F", "label": "mass", "few": False, "gap": {"auroc": FIGURE}}]
    found = metrics(subgroups=groups)
    found["labels"]["mass"]["three_way"] = {"share_referred": FIGURE}
    xml = render_card_xml(card(), found, answers)
    schema.validate(xml)
    told = schema.to_dict(xml)
    assert told["BasicInfo"]["ModelDeveloper"] == "us" and told["BasicInfo"]["DeveloperContact"].startswith("a < b &")
    results = told["KeyMetrics"]["FairnessEquity"]["Results"]["MetricResult"]
    assert results[0]["Label"] == "mass: auroc of sex F less that of all others"
    assert '"lower": 0.8' in results[0]["ValueJson"]


def test_a_card_that_was_never_tested_is_valid(schema):
    bare = replace(card(), network={}, recipe={}, cohorts={}, limits=())
    schema.validate(render_card_xml(bare, metrics(labels={"mass": {"auroc": NOT_DEFINED}}, floors={}), {}))


def test_a_card_out_of_order_is_refused(schema):
    """The twin: the validator can say no."""
    xml = render_card_xml(card(), metrics(), {})
    assert not schema.is_valid(xml.replace("ModelName>", "Name>"))
    assert not schema.is_valid(xml.replace("<Bibliography>not stated</Bibliography>", ""))

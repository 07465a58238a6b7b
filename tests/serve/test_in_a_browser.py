"""A doctor at the reading page, in real headless Chromium: what is seen, what was sent, what is signed."""

from __future__ import annotations

import json
import time

import pydicom
import pytest
from small_hospital import LABEL, deliver, deliver_ct

from overread.serve.reading import of_hundred
from overread.steps.verify import verify

CSS = "css selector"


class Doctor:
    """Someone at the screen."""

    def __init__(self, browser, hospital) -> None:
        self.browser, self.base = browser, f"http://127.0.0.1:{hospital.port}"
        self.begun: dict[str, str] = {}  # answers that are on their way
        browser.delete_all_cookies()
        browser.get_log("performance")
        browser.get_log("browser")
        self.go("/reader")
        browser.delete_all_cookies()
        self.go("/")
        self.type("[name=family]", "Curie")
        self.type("[name=given]", "Marie")
        self.click("form button")
        self.wait("#list")

    def go(self, path: str) -> None:
        self.browser.get(self.base + path)

    def find(self, css: str):
        return self.browser.find_element(CSS, css)

    def all(self, css: str) -> list:
        return self.browser.find_elements(CSS, css)

    def wait(self, css: str, seconds: float = 15) -> None:
        end = time.monotonic() + seconds
        while not self.all(css):
            if time.monotonic() > end:
                raise AssertionError(f"{css} did not come: {self.find('body').text}")
            time.sleep(0.03)

    def until(self, script: str, seconds: float = 15):
        end = time.monotonic() + seconds
        while not (value := self.browser.execute_script(f"return {script}")):
            if time.monotonic() > end:
                raise AssertionError(f"{script} did not become true")
            time.sleep(0.03)
        return value

    def click(self, css: str) -> None:
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", self.find(css))
        self.find(css).click()

    def type(self, css: str, text: str) -> None:
        self.find(css).send_keys(text)

    def open(self, study: str) -> None:
        self.go(f"/study/{study}")
        self.wait("#viewer[data-ready]")
        self.until("document.querySelector('#readout').textContent.includes('Level')")

    def say(self, state: str) -> None:
        self.click(f"#impression input[value={state}] + span")
        self.click("#impression button")
        self.wait("#sign")

    def grey(self, across: float = 0.5, down: float = 0.5) -> int:
        """The grey level on the screen at a place of the canvas, once it has stood still for three looks."""
        look = (
            "const c = document.querySelector('canvas'); return c.getContext('2d').getImageData("
            f"Math.floor(c.width * {across}), Math.floor(c.height * {down}), 1, 1).data[0]"
        )
        seen: list[int] = []
        while len(seen) < 100 and (len(seen) < 3 or len(set(seen[-3:])) > 1):
            time.sleep(0.1)
            seen.append(self.browser.execute_script(look))
        return seen[-1]

    def received(self) -> list[tuple[str, str]]:
        """(address, body) of every answer that has come whole since the last look."""
        got = []
        for entry in self.browser.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            facts = message["params"]
            if message["method"] == "Network.responseReceived":
                self.begun[facts["requestId"]] = facts["response"]["url"]
            elif message["method"] == "Network.loadingFinished" and facts["requestId"] in self.begun:
                url = self.begun.pop(facts["requestId"])
                try:
                    body = self.browser.execute_cdp_cmd("Network.getResponseBody", {"requestId": facts["requestId"]})
                except Exception as error:  # a page that was left has no body any more; redirects never had one
                    if "No resource with given identifier" not in str(error) and "No data found" not in str(error):
                        raise
                    continue
                got.append((url, body["body"]))
        return got

    def received_with(self, part: str, seconds: float = 15) -> list[tuple[str, str]]:
        """All that has come, once an address that holds ``part`` is among it: the browser tells with a delay."""
        end, got = time.monotonic() + seconds, self.received()
        while not any(part in url for url, _ in got):
            assert time.monotonic() < end, f"nothing came from {part}"
            time.sleep(0.03)
            got += self.received()
        return got

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture
def reading(house, inbox, browser):
    deliver(inbox, 1, 0.7)
    hospital = house(demo=True)
    (study,) = hospital.work()
    browser.execute_cdp_cmd("Network.enable", {})
    return Doctor(browser, hospital), hospital, study


def test_impression_finding_heat_map_signature(reading, inbox):
    doctor, hospital, study = reading
    draft = hospital.room.inbox.draft(study)
    finding = draft.report.findings[0]
    secrets = [str(finding.probability), draft.report.fingerprint, f"{of_hundred(finding.probability)} show"]

    doctor.click("a.open")  # 1: the image and a question; nothing in the answers gives the finding away
    doctor.wait("#viewer[data-ready]")
    before = doctor.received_with("/slice/")
    assert any(url.endswith(f"/study/{study}") for url, _ in before)
    assert not [(url, s) for url, body in before for s in secrets if s in body]
    assert not doctor.all("#sign") and not doctor.all(".finding") and not doctor.all("form.heat-map")
    assert not doctor.all("#impression input:checked")  # nothing is chosen for the doctor

    doctor.say("absent")  # 2: the finding opens, with its doubt; the same search finds it now
    after = doctor.received()
    assert all(any(s in body for _, body in after) for s in secrets[1:])
    text = doctor.find("#answers").text
    assert "Probably present" in text and "What speaks against it" in text and "disagrees with your impression" in text
    assert not doctor.all("#sign input:checked") and not doctor.all("#answers img")

    doctor.click("form.heat-map button")  # 3: closed until asked for
    doctor.wait("figure img")
    doctor.until("document.querySelector('figure img').naturalWidth")
    assert "evidence about the model, not an outline of disease" in doctor.find("form.heat-map").text

    doctor.click("#sign input[value='disagree:absent'] + span")  # 4: a disagreement asks for its reason
    doctor.type("#sign [name=family]", "Curie")
    doctor.type("#sign [name=given]", "Marie")
    doctor.click("#sign > button")
    assert doctor.browser.execute_script("return document.querySelector('#sign textarea').validity.valueMissing")
    doctor.type("#sign textarea", "Rib ends, not a nodule.")
    doctor.click("#sign > button")
    doctor.wait(".signed")

    told = verify(inbox)  # 5: on record, and in a verified report
    assert told.kinds == {"report": 1, "impression": 1, "heat-map": 1, "signed": 1} and (
        told.signatures,
        told.reports,
    ) == (1, 1)
    ds = pydicom.dcmread(hospital.room.inbox.home(study) / "signed-1.dcm")
    assert (ds.VerificationFlag, str(ds.VerifyingObserverSequence[0].VerifyingObserverName)) == (
        "VERIFIED",
        "Curie^Marie",
    )
    assert b"Rib ends, not a nodule." in (hospital.room.inbox.home(study) / "signed-1.dcm").read_bytes()
    doctor.go("/")
    assert "signed, version 1" in doctor.find("#list").text
    assert doctor.complaints() == []  # the browser's own: nothing broke the content policy, nothing was missing


def test_the_window_moves_the_grey_levels_that_are_seen(reading):
    doctor, _, study = reading
    doctor.open(study)
    doctor.until("document.querySelector('canvas').width > 300")
    middle = doctor.grey()
    assert abs(middle - 255 * 0.85) < 25  # brightness .7 and a hump of .15 in a window over all 12 bits
    outside = doctor.grey(across=0.01)
    script = (
        "const s = document.querySelector(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('input'))"
    )
    doctor.browser.execute_script(script, ".level", 6000)
    assert doctor.grey() < middle - 100
    doctor.click(".reset")
    assert doctor.grey() == middle
    doctor.click(".invert")
    assert abs(doctor.grey() - (255 - middle)) <= 1 and doctor.grey(across=0.01) == outside == 0


def test_a_drag_changes_the_window_and_a_double_click_takes_it_back(reading):
    from selenium.webdriver import ActionChains

    doctor, _, study = reading
    doctor.open(study)
    canvas, readout = doctor.find("canvas"), "document.querySelector('#readout').textContent"
    first = doctor.until(readout)
    ActionChains(doctor.browser).click_and_hold(canvas).move_by_offset(60, 40).release().perform()
    assert doctor.until(readout) != first
    ActionChains(doctor.browser).double_click(canvas).perform()
    ActionChains(doctor.browser).move_to_element_with_offset(canvas, -400, 0).perform()
    assert doctor.until(readout) == first


def test_a_volume_is_scrolled_by_keys_wheel_and_slider_in_true_proportion(house, inbox, browser):
    from selenium.webdriver import ActionChains, Keys
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    deliver_ct(inbox, 4)
    hospital = house()
    (study,) = hospital.work()
    doctor = Doctor(browser, hospital)
    doctor.open(study)
    doctor.find("canvas").send_keys(Keys.HOME)
    doctor.until("document.querySelector('#readout').textContent.startsWith('Slice 1 / 12')")
    first = doctor.grey()
    doctor.find("canvas").send_keys(Keys.END)
    doctor.until("document.querySelector('#readout').textContent.startsWith('Slice 12 / 12')")
    assert doctor.grey() > first  # each slice of this phantom is 10 HU brighter than the last
    ActionChains(browser).scroll_from_origin(ScrollOrigin.from_element(doctor.find("canvas")), 0, -100).perform()
    doctor.until("document.querySelector('#readout').textContent.startsWith('Slice 11 / 12')")
    assert [doctor.find(f".letter.{side}").text for side in ("left", "right", "top", "bottom")] == ["R", "L", "A", "P"]
    # 48 rows of 1.0 mm by 64 columns of 0.8 mm: 48 mm by 51.2 mm on the screen, not 48 by 64
    ratio = browser.execute_script(
        "const c = document.querySelector('canvas'), d = c.getContext('2d').getTransform();"
        "return (64 * d.a) / (48 * d.d)"
    )
    assert abs(ratio - 51.2 / 48) < 1e-3


def test_the_image_stays_as_it_was_left_when_the_finding_opens(house, inbox, browser):
    from selenium.webdriver import Keys

    deliver_ct(inbox, 4)
    deliver_ct(inbox, 5)
    hospital = house()
    first, second = hospital.work()
    doctor = Doctor(browser, hospital)
    doctor.open(first)
    doctor.find("canvas").send_keys(Keys.END, "i", "]", "+")
    readout = "document.querySelector('#readout').textContent"
    before = doctor.until(f"{readout}.startsWith('Slice 12 / 12') && {readout}")
    pixel = doctor.grey(across=0.3)
    doctor.say("absent")
    doctor.until(f"{readout} === {json.dumps(before)}")
    doctor.until("document.querySelector('.invert').getAttribute('aria-pressed') === 'true'")
    assert doctor.grey(across=0.3) == pixel
    doctor.open(second)  # another study begins at its own middle
    doctor.until(f"{readout}.startsWith('Slice 6 / 12')")


def test_a_study_the_machine_failed_on_can_be_read_and_signed(house, inbox, browser):
    deliver_ct(inbox, 4)
    hospital = house()
    (study,) = hospital.work()
    doctor = Doctor(browser, hospital)
    doctor.open(study)
    doctor.say("absent")
    text = doctor.find("#answers").text
    assert "You decide" in text and "a volume of 12 slices" in text and "There is no number" in text
    doctor.click("#sign input[value='agree:absent'] + span")
    doctor.type("#sign [name=family]", "Curie")
    doctor.type("#sign [name=given]", "Marie")
    doctor.click("#sign > button")
    doctor.wait(".signed")
    assert (
        "decided, as the machine left it open" in doctor.find(".signed").text
    )  # not "agreed": there was nothing to agree with
    assert verify(inbox).kinds["signed"] == 1


def test_everything_can_be_reached_and_named_without_a_mouse(reading):
    """Each control has a name that a screen reader can say, and a place in the order of the Tab key."""
    doctor, _, study = reading
    doctor.open(study)
    doctor.say("present")
    unnamed = doctor.browser.execute_script("""
        return [...document.querySelectorAll('input:not([type=hidden]), button, select, textarea, a, canvas, [role=img]')]
          .filter((e) => e.offsetParent !== null)
          .filter((e) => !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim()))
          .map((e) => e.outerHTML.slice(0, 80))""")
    assert unnamed == []
    assert doctor.browser.execute_script("return document.querySelector('canvas').tabIndex") == 0
    assert (
        doctor.browser.execute_script("return document.querySelectorAll('[tabindex]:not([tabindex=\"0\"])').length")
        == 0
    )
    assert (
        doctor.browser.execute_script("return document.documentElement.lang") == "en"
        and LABEL in doctor.find("#sign").text
    )


def test_the_worklist_renews_itself(house, inbox, browser):
    hospital = house()
    doctor = Doctor(browser, hospital)
    assert "Nothing is waiting" in doctor.find("#list").text
    deliver(inbox, 1, 0.7)
    hospital.work()
    doctor.wait("a.open")
    assert "PH-001" in doctor.find("#list").text


def test_on_a_narrow_screen_everything_can_be_scrolled_to(house, inbox, browser):
    deliver(inbox, 1, 0.7)
    hospital = house()
    (study,) = hospital.work()
    doctor = Doctor(browser, hospital)
    browser.set_window_size(800, 700)
    try:
        doctor.open(study)
        doctor.until("document.documentElement.scrollHeight > innerHeight")
        assert browser.execute_script("scrollTo(0, 1e6); return scrollY") > 0
        seen = "(r => r.top >= 0 && r.bottom <= innerHeight)(document.querySelector('#impression button').getBoundingClientRect())"
        doctor.until(seen)
    finally:
        browser.set_window_size(1500, 950)


def test_why_a_study_was_moved_up_is_told_after_the_own_impression(house, inbox, browser):
    deliver(inbox, 1, 0.3)
    hospital = house()
    hospital.work()
    deliver(inbox, 2, 0.9)
    hospital.work()
    studies = {e.patient: e.study for e in hospital.room.inbox.entries()}
    doctor = Doctor(browser, hospital)
    assert "moved up by the machine, before 1 that came no later" in doctor.find("#list").text
    doctor.open(studies["PH-002"])
    assert "because of" not in doctor.find("body").text
    doctor.say("unsure")
    doctor.wait(".moved-up")
    assert f"because of {LABEL}: present" in doctor.find(".moved-up").text

"""The HTML report in a real browser: its filters, its paper form, and names that want to be scripts."""

import json
import re
import time
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from registry_audit.report.document import AuditDocument, EventRow
from registry_audit.report.write import load_report

from .conftest import Open

GOLDEN = Path(__file__).parents[1] / "golden" / "report"


@pytest.fixture(scope="module")
def sample() -> AuditDocument:
    return load_report(GOLDEN / "sample.json")


@pytest.fixture(scope="module")
def with_ledger() -> AuditDocument:
    return load_report(GOLDEN / "ledger.json")


def shown(driver: webdriver.Chrome, selector: str) -> list[str]:
    return [
        element.text.split("\n")[0]
        for element in driver.find_elements(By.CSS_SELECTOR, selector)
        if element.is_displayed()
    ]


def rows_html(driver: webdriver.Chrome) -> str:
    html = driver.execute_script("return document.getElementById('rows').innerHTML")
    return re.sub(r">\s+|\s+<", lambda match: match.group().strip(), html)


def press(driver: webdriver.Chrome, selector: str) -> None:
    driver.find_element(By.CSS_SELECTOR, selector).click()


def versions_shown(driver: webdriver.Chrome) -> list[str]:
    return driver.execute_script(
        "return [...document.querySelectorAll('tr.version')].map((row) =>"
        " row.querySelector('.name').textContent + row.querySelector('.number').textContent)"
    )


def search(driver: webdriver.Chrome, text: str) -> None:
    field = driver.find_element(By.ID, "filter")
    field.clear()
    field.send_keys(text)


def choose(driver: webdriver.Chrome, select: str, value: str) -> None:
    press(driver, f"#{select} option[value='{value}']")


def test_text_filters_findings_and_versions(open_report: Open, sample: AuditDocument) -> None:
    driver = open_report(sample)
    assert len(shown(driver, "article")) == 8
    search(driver, "FRAUD")
    assert shown(driver, "article h4") == ["fraud-score/7"]
    assert versions_shown(driver) == ["fraud-score/7", "fraud-score/8"]
    assert driver.find_element(By.ID, "showing").text == "1 of 8 findings, 2 of 10 versions"
    assert shown(driver, "section.group h3") == ["fraud-score"]
    press(driver, "#clear")
    assert len(shown(driver, "tr.version")) == 10
    assert driver.find_element(By.ID, "filter").get_attribute("value") == ""
    digest = sample.versions[3].differences[1].digests.run_model
    assert digest is not None
    search(driver, digest)
    assert len(shown(driver, "article")) == 1
    search(driver, "nothing has this name")
    assert shown(driver, "article") == []
    assert driver.find_element(By.ID, "no-findings").is_displayed()
    assert driver.find_element(By.ID, "no-versions").is_displayed()


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("churn-classifier/1", ["churn-classifier/1"]),
        ("Churn 10", ["churn-classifier/10"]),
        ("classifier 1", ["churn-classifier/1"]),
        ("RA002 churn", ["churn-classifier/2"]),
        ("critical", ["churn-classifier/2", "fraud-score/7", "search-ranker/1"]),
        ("changed", ["churn-classifier/2"]),
        ("unchanged churn", ["churn-classifier/1"]),
        ("@eu-west", ["fraud-score/7"]),
        ("preprocessing/encoder", ["fraud-score/7"]),
        ("mismatch production", ["fraud-score/7"]),
    ],
)
def test_a_search_finds_what_its_words_say(
    text: str, versions: list[str], open_report: Open, sample: AuditDocument
) -> None:
    driver = open_report(sample)
    search(driver, text)
    assert versions_shown(driver) == versions


def test_buttons_and_choices_filter(open_report: Open, sample: AuditDocument) -> None:
    driver = open_report(sample)
    choose(driver, "verdict", "same_storage")
    assert len(versions_shown(driver)) == 5
    press(driver, "[data-severity=critical].toggle")
    assert len(versions_shown(driver)) == len(shown(driver, "article")) == 2
    choose(driver, "alias", "champion")
    assert versions_shown(driver) == ["churn-classifier/2"]
    press(driver, "#clear")
    assert len(shown(driver, "article")) == 8
    choose(driver, "stage", "Production")
    assert versions_shown(driver) == ["fraud-score/7"]
    choose(driver, "stage", "")
    choose(driver, "baseline", "changed")
    assert versions_shown(driver) == ["churn-classifier/2"]


def test_a_link_shows_what_its_sender_saw(open_report: Open, sample: AuditDocument) -> None:
    driver = open_report(sample)
    search(driver, "search ranker")
    press(driver, "[data-severity=high].toggle")
    choose(driver, "group", "severity")
    choose(driver, "sort", "findings")
    seen = shown(driver, "article h4"), shown(driver, "section.group h3"), versions_shown(driver)
    assert seen == (["search-ranker/3"], ["High"], ["search-ranker/3"])
    address = driver.current_url
    assert address.endswith("#q=search+ranker&severity=high&group=severity&sort=findings")
    driver.get("about:blank")
    driver.get(address)
    assert (shown(driver, "article h4"), shown(driver, "section.group h3"), versions_shown(driver)) == seen
    # A link to a finding that is filtered out shows it all the same.
    driver.execute_script("location.hash = 'finding-1'")
    assert driver.find_element(By.ID, "finding-1").is_displayed()
    assert len(versions_shown(driver)) == 10


def test_versions_sort_and_group(open_report: Open, sample: AuditDocument) -> None:
    driver = open_report(sample)
    assert shown(driver, "tr.model") == ["churn-classifier", "fraud-score", "prices/eu", "search-ranker"]
    choose(driver, "sort", "verdict")
    assert versions_shown(driver)[:3] == ["fraud-score/7", "prices/eu/4", "search-ranker/2"]
    assert shown(driver, "tr.model") == []
    choose(driver, "sort", "findings")
    assert versions_shown(driver)[:3] == ["churn-classifier/2", "fraud-score/7", "search-ranker/1"]


def test_one_click_copies_the_whole_digest_and_the_command(open_report: Open, sample: AuditDocument) -> None:
    driver = open_report(sample)
    driver.execute_script(
        "window.copied = []; document.execCommand = () => { copied.push(document.activeElement.value); return true; };"
        "navigator.clipboard.writeText = (text) => { copied.push(text); return Promise.resolve(); };"
    )
    digest = driver.find_element(By.CSS_SELECTOR, "article button.digest")
    digest.click()
    assert digest.text == digest.get_attribute("data-copy") == driver.execute_script("return copied[0]")
    command = driver.find_element(By.CSS_SELECTOR, "article .copier")
    command.click()
    assert driver.execute_script("return copied[1]") == command.get_attribute("data-copy")
    assert driver.find_element(By.ID, "said").text == "Copied"


def test_a_version_tells_where_it_is_and_what_became_of_it(open_report: Open, sample: AuditDocument) -> None:
    life = (EventRow(at="2025-01-09T06:00:00Z", kind="accepted", what="accepted by alice@laptop: as <b>released</b>"),)
    rows = (sample.versions[0].model_copy(update={"history": life}), *sample.versions[1:])
    driver = open_report(sample.model_copy(update={"versions": rows}))
    button = driver.find_element(By.CSS_SELECTOR, "button.about")
    button.click()
    about = driver.find_element(By.CSS_SELECTOR, "tr.about")
    assert "2025-01-09\naccepted by alice@laptop: as <b>released</b>" in about.text
    run = about.find_element(By.TAG_NAME, "a").get_attribute("href")
    assert run == f"https://mlflow.example.com/#/runs/{sample.versions[0].run_id}"
    button.click()
    assert driver.find_elements(By.CSS_SELECTOR, "tr.about") == []


def test_the_first_finding_is_above_the_fold(open_report: Open, with_ledger: AuditDocument) -> None:
    driver = open_report(with_ledger)
    metrics = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        bottom = driver.execute_script(
            "return document.querySelector('article .message').getBoundingClientRect().bottom"
        )
        assert bottom < 900
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_bar_covers_nothing_that_is_jumped_to_or_focused(open_report: Open, sample: AuditDocument) -> None:
    driver = open_report(sample)
    covered = (
        "const bar = document.getElementById('toolbar').getBoundingClientRect().bottom;"
        "return arguments[0].getBoundingClientRect().top < bar"
    )
    for target in ("finding-5", "versions", "legend", "finding-2"):
        driver.execute_script(f"location.hash = '{target}'")
        assert not driver.execute_script(covered, driver.find_element(By.ID, target)), target
    places = driver.find_elements(By.CSS_SELECTOR, "main :is(a, summary, .copier, .digest)")
    for place in reversed([place for place in places if place.is_displayed()]):
        driver.execute_script("arguments[0].focus()", place)
        assert not driver.execute_script(covered, place), place.get_attribute("outerHTML")


def test_buttons_filter_by_the_life_of_findings(open_report: Open, with_ledger: AuditDocument) -> None:
    driver = open_report(with_ledger)
    assert driver.find_element(By.ID, "showing").text == "5 findings, 9 versions"
    press(driver, "[data-life=new].toggle")
    assert shown(driver, "article h4") == ["churn-classifier/2", "search-ranker/1"]
    assert len(shown(driver, "tr.version")) == 2
    press(driver, "[data-life=new].toggle")
    press(driver, "[data-severity=waived].toggle")
    assert shown(driver, "article h4") == ["fraud-score/8", "churn-classifier/3"]
    assert [title.split()[0] for title in shown(driver, "section.group h3")] == ["Waived"]
    press(driver, "[data-severity=critical].toggle")
    assert len(shown(driver, "article")) == 3
    press(driver, "[data-life=new].toggle")
    assert shown(driver, "article h4") == ["churn-classifier/2"]
    press(driver, "#clear")
    assert len(shown(driver, "article")) == 5
    search(driver, "erin@risk")
    assert shown(driver, "article h4") == ["fraud-score/8"]


@pytest.mark.parametrize("name", ["sample", "ledger"])
def test_the_script_draws_the_rows_that_the_page_came_with(name: str, open_report: Open) -> None:
    document = load_report(GOLDEN / f"{name}.json")
    driver = open_report(document)
    drawn = rows_html(driver)
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    driver.refresh()
    assert driver.find_element(By.CSS_SELECTOR, "noscript p").is_displayed()
    assert not driver.find_element(By.ID, "toolbar").is_displayed()
    assert rows_html(driver) == drawn
    assert len(shown(driver, "article")) == sum(len(row.findings) for row in document.versions)


def test_no_name_runs_or_reaches_out(open_report: Open) -> None:
    hostile = load_report(GOLDEN / "hostile.json")
    driver = open_report(hostile)
    for summary in driver.find_elements(By.CSS_SELECTOR, "summary"):
        driver.execute_script("arguments[0].parentElement.open = true", summary)
    for text in ("<script>", "'", "\\"):
        field = driver.find_element(By.ID, "filter")
        field.clear()
        field.send_keys(text)
    assert driver.execute_script("return window.broken") is None
    assert driver.execute_script("return document.scripts.length") == 2
    assert driver.find_elements(By.CSS_SELECTOR, "main img, main script, main b > b, main a[href^='javascript']") == []
    assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0
    driver.find_element(By.ID, "filter").clear()
    press(driver, "[data-severity=critical].toggle")
    names = "\n".join(versions_shown(driver))
    assert "<script>window.broken = true</script>/" in names
    assert "right\\u202eto left/" in names


@pytest.mark.parametrize("asked", [False, True])
def test_paper_has_every_finding_and_the_versions_where_they_are_asked_for(
    asked: bool, open_report: Open, sample: AuditDocument
) -> None:
    versions = [sample.versions[0].model_copy(update={"version": str(number)}) for number in range(11, 461)]
    driver = open_report(sample.model_copy(update={"versions": (*sample.versions, *versions)}))
    if asked:
        press(driver, "#print-versions")
    search(driver, "nothing has this name")
    driver.execute_script(
        "addEventListener('beforeprint', () => { const shown = (selector) =>"
        " [...document.querySelectorAll(selector)].filter((e) => !e.closest('[hidden]')).length;"
        " window.printed = [shown('tr.version'), shown('article'), document.body.className] })"
    )
    driver.execute_cdp_cmd("Page.printToPDF", {})
    assert driver.execute_script("return window.printed") == ([460, 8, "js all"] if asked else [0, 8, "js"])
    assert shown(driver, "article") == [], "the filter is back on the screen"
    press(driver, "#clear")
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not driver.find_element(By.ID, "toolbar").is_displayed()
    assert driver.find_element(By.ID, "versions").is_displayed() == asked
    assert driver.execute_script(
        "return getComputedStyle(document.querySelector('.digest'), '::after').content"
    ).startswith('"sha256:')


def test_ten_thousand_versions_stay_usable(open_report: Open, sample: AuditDocument) -> None:
    versions = tuple(sample.versions[n % 10].model_copy(update={"version": str(n)}) for n in range(10_000))
    driver = open_report(sample.model_copy(update={"versions": versions}))
    assert len(driver.find_elements(By.CSS_SELECTOR, "tr.version")) == 200
    assert driver.find_element(By.ID, "range").text == "1 to 200 of 10,000"
    press(driver, "#next")
    assert driver.find_element(By.ID, "range").text == "201 to 400 of 10,000"
    start = time.monotonic()
    driver.execute_script(
        "const f = document.getElementById('filter'); f.value = 'search-ranker/9998';"
        "f.dispatchEvent(new Event('input'))"
    )
    assert time.monotonic() - start < 30
    assert len(driver.find_elements(By.CSS_SELECTOR, "tr.version")) == 1
    assert not driver.find_element(By.ID, "pager").is_displayed()


@pytest.fixture(scope="module")
def many_findings(sample: AuditDocument) -> AuditDocument:
    """1,800 versions, of which two thirds have findings, as many as there are versions."""
    versions = (
        sample.versions[n % 3].model_copy(update={"name": f"m{n % 7}", "version": str(n)}) for n in range(1_800)
    )
    return sample.model_copy(update={"versions": tuple(versions)})


def test_of_many_findings_the_page_holds_the_first(open_report: Open, many_findings: AuditDocument) -> None:
    total = sum(len(row.findings) for row in many_findings.versions)
    driver = open_report(many_findings)
    assert total == 1_800
    assert len(driver.find_elements(By.TAG_NAME, "article")) == 200
    assert driver.find_element(By.ID, "showing").text == f"{total:,} findings, 1,800 versions"
    assert driver.execute_script("return document.querySelectorAll('*').length") < 20_000
    severities = driver.execute_script(
        "return [...document.querySelectorAll('article')].map((a) => a.dataset.severity)"
    )
    assert set(severities) == {"critical"}, "the worst ones"
    last = next(row for row in reversed(many_findings.versions) if row.findings)
    search(driver, f"{last.name}/{last.version}")
    assert set(shown(driver, "article h4")) == {f"{last.name}/{last.version}"}, "a search finds what is not in the page"
    assert not driver.find_element(By.ID, "all-findings").is_displayed()
    press(driver, "#clear")
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert len(driver.find_elements(By.TAG_NAME, "article")) == total, "paper has all of them"
    driver.execute_script("dispatchEvent(new Event('afterprint'))")
    assert len(driver.find_elements(By.TAG_NAME, "article")) == 200, "and the screen is as it was"
    driver.execute_script(f"location.hash = 'finding-{total}'")
    assert driver.find_element(By.ID, f"finding-{total}").is_displayed()
    assert driver.execute_script("return document.querySelector(':target').id") == f"finding-{total}"
    search(driver, "m1")
    press(driver, "#clear")
    driver.execute_script("document.getElementById('all-findings').click()")
    assert len(driver.find_elements(By.TAG_NAME, "article")) == total
    choose(driver, "group", "severity")
    titles = shown(driver, "section.group h3")
    assert titles == [each for each in ("Critical", "High", "Medium", "Low") if each in titles]


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("name", ["sample", "ledger"])
def test_the_page_never_scrolls_sideways(name: str, width: int, open_report: Open) -> None:
    driver = open_report(load_report(GOLDEN / f"{name}.json"))
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth"), width
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["sample", "ledger"])
def test_text_has_the_contrast_of_wcag_aa(name: str, scheme: str, open_report: Open) -> None:
    driver = open_report(load_report(GOLDEN / f"{name}.json"))
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    low = driver.execute_script(_CONTRAST)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert low == [], json.dumps(low, indent=1)


# Each element with text of its own against the nearest opaque background, by WCAG's formula.
_CONTRAST = """
const channels = (color) => color.match(/[\\d.]+/g).map(Number);
const luminance = (c) => c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const background = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const c = channels(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c;
  }
  return [255, 255, 255];
};
const low = new Set();
for (const e of document.querySelectorAll("body *")) {
  if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility()) continue;
  let opacity = 1;
  for (let p = e; p; p = p.parentElement) opacity *= getComputedStyle(p).opacity;
  const back = background(e);
  const fore = channels(getComputedStyle(e).color).map((v, i) => v * opacity + back[i] * (1 - opacity));
  const [a, b] = [luminance(fore), luminance(back)].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) low.add(`${e.tagName}.${e.className} ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
}
return [...low];
"""

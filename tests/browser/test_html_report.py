"""The HTML report in a real browser: its filters, its paper form, and names that want to be scripts."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from registry_audit.report.document import AuditDocument
from registry_audit.report.render import render
from registry_audit.report.write import load_report

GOLDEN = Path(__file__).parents[1] / "golden" / "report"
CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,900",
)  # fmt: skip

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM.exists() and DRIVER.exists()), reason=f"no {CHROMIUM} with its driver {DRIVER}"),
]

Open = Callable[[AuditDocument], webdriver.Chrome]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    profile = tmp_path_factory.mktemp("profile")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture
def open_report(browser: webdriver.Chrome, tmp_path: Path) -> Iterator[Open]:
    """Opens a report; whatever the test did with it, the console must have stayed empty."""

    def open_it(document: AuditDocument) -> webdriver.Chrome:
        page = tmp_path / "audit.html"
        page.write_text(render(document, "html"), encoding="utf-8")
        browser.get(page.as_uri())
        return browser

    browser.get_log("browser")
    yield open_it
    assert browser.get_log("browser") == []
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


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


def test_text_filters_findings_and_versions(open_report: Open, sample: AuditDocument) -> None:
    driver = open_report(sample)
    assert len(shown(driver, "article")) == 8
    field = driver.find_element(By.ID, "filter")
    field.send_keys("FRAUD")
    assert [text.split()[0] for text in shown(driver, "article h4")] == ["fraud-score"]
    assert [text.split()[0] for text in shown(driver, "tr.version .name")] == ["fraud-score"] * 2
    assert driver.find_element(By.ID, "showing").text == "1 of 8 findings and 2 of 10 versions match."
    assert shown(driver, "section.group h3") == ["Critical"]
    press(driver, "#clear")
    assert len(shown(driver, "tr.version")) == 10
    assert field.get_attribute("value") == ""
    digest = sample.versions[3].differences[1].digests.run_model
    field.send_keys(digest)
    assert len(shown(driver, "article")) == 1
    field.clear()
    field.send_keys("nothing has this name")
    assert shown(driver, "article") == []
    assert driver.find_element(By.ID, "no-findings").is_displayed()
    assert driver.find_element(By.ID, "no-versions").is_displayed()


def test_buttons_filter_by_severity_and_verdict(open_report: Open, sample: AuditDocument) -> None:
    driver = open_report(sample)
    press(driver, "[data-verdict=same_storage].toggle")
    assert len(shown(driver, "tr.version")) == 5
    press(driver, "[data-severity=critical].toggle")
    assert len(shown(driver, "tr.version")) == 2
    assert len(shown(driver, "article")) == 2
    pressed = driver.find_elements(By.CSS_SELECTOR, "[aria-pressed=true]")
    assert [button.get_attribute("data-verdict") for button in pressed] == [None, "same_storage"]
    press(driver, "#clear")
    assert len(shown(driver, "article")) == 8


def test_buttons_filter_by_the_life_of_findings(open_report: Open, with_ledger: AuditDocument) -> None:
    driver = open_report(with_ledger)
    assert driver.find_element(By.ID, "showing").text == "5 findings, 9 versions."
    press(driver, "[data-life=new].toggle")
    assert shown(driver, "article h4") == ["churn-classifier version 2", "search-ranker version 1"]
    assert len(shown(driver, "tr.version")) == 2
    press(driver, "[data-life=new].toggle")
    press(driver, "[data-severity=waived].toggle")
    assert shown(driver, "article h4") == ["fraud-score version 8", "churn-classifier version 3"]
    assert shown(driver, "section.group h3") == ["Waived"]
    press(driver, "[data-severity=critical].toggle")
    assert len(shown(driver, "article")) == 3
    press(driver, "[data-life=new].toggle")
    assert shown(driver, "article h4") == ["churn-classifier version 2"]
    press(driver, "#clear")
    assert len(shown(driver, "article")) == 5
    driver.find_element(By.ID, "filter").send_keys("erin@risk")
    assert shown(driver, "article h4") == ["fraud-score version 8"]


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
    assert driver.find_elements(By.CSS_SELECTOR, "main img, main script, main b > b") == []
    assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0
    driver.find_element(By.ID, "filter").clear()
    press(driver, "[data-severity=critical].toggle")
    names = [element.text for element in driver.find_elements(By.CSS_SELECTOR, "tr.version .name")]
    assert "<script>window.broken = true</script>" in names
    assert "right\\u202eto left" in names


def test_paper_has_everything_and_no_filter(open_report: Open, sample: AuditDocument) -> None:
    versions = [sample.versions[0].model_copy(update={"version": str(number)}) for number in range(1, 451)]
    driver = open_report(sample.model_copy(update={"versions": (*sample.versions, *versions)}))
    driver.find_element(By.ID, "filter").send_keys("nothing has this name")
    driver.execute_script(
        "addEventListener('beforeprint', () => { window.printed = ["
        "document.querySelectorAll('tr.version').length, document.querySelectorAll('article:not([hidden])').length,"
        "document.querySelectorAll('details:not([open])').length] })"
    )
    driver.execute_cdp_cmd("Page.printToPDF", {})
    assert driver.execute_script("return window.printed") == [460, 8, 0]
    assert shown(driver, "article") == [], "the filter is back on the screen"
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert not driver.find_element(By.ID, "toolbar").is_displayed()


def test_ten_thousand_versions_stay_usable(open_report: Open, sample: AuditDocument) -> None:
    versions = tuple(sample.versions[n % 10].model_copy(update={"version": str(n)}) for n in range(10_000))
    driver = open_report(sample.model_copy(update={"versions": versions}))
    assert len(driver.find_elements(By.CSS_SELECTOR, "tr.version")) == 200
    assert driver.find_element(By.ID, "range").text == "1 to 200 of 10,000"
    press(driver, "#next")
    assert driver.find_element(By.ID, "range").text == "201 to 400 of 10,000"
    start = time.monotonic()
    driver.execute_script(
        "const f = document.getElementById('filter'); f.value = 'search-ranker version 9998';"
        "f.dispatchEvent(new Event('input'))"
    )
    assert time.monotonic() - start < 5
    assert len(driver.find_elements(By.CSS_SELECTOR, "tr.version")) == 1
    assert not driver.find_element(By.ID, "pager").is_displayed()


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

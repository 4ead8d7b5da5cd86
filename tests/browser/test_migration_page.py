"""The HTML report on a migration in a real browser."""

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from support.two_registries import compared, down, facts, model

from registry_audit.report.registries_document import MigrationDocument

from .conftest import Open


@pytest.fixture(scope="module")
def sample() -> MigrationDocument:
    """Wine/2 is missing, Wine/3 changed, Wine/4 one directory down, Wine/5 without its alias; Churn arrived whole."""
    source = [
        facts("Wine", n, model(f"w{n}"), storage=f"s/{n}", aliases=("champion",) if n == 5 else ()) for n in range(1, 6)
    ]
    target = [
        facts("Wine", 1, model("w1"), storage="t/1"),
        facts("Wine", 3, model("other"), storage="t/3"),
        facts("Wine", 4, down(model("w4")), storage="t/4"),
        facts("Wine", 5, model("w5"), storage="t/5"),
    ]
    for number in range(1, 451):
        files = model(f"c{number}")
        source.append(facts("Churn", number, files, storage=f"s/c{number}"))
        target.append(facts("Churn", number, files, storage=f"t/c{number}"))
    return compared(source, target).document


def cards(driver: webdriver.Chrome) -> list[str]:
    return [card.text for card in driver.find_elements(By.CSS_SELECTOR, "article h4") if card.is_displayed()]


def pairs(driver: webdriver.Chrome) -> list[str]:
    return driver.execute_script("return [...document.querySelectorAll('#rows th')].map((cell) => cell.textContent)")


def search(driver: webdriver.Chrome, text: str) -> None:
    field = driver.find_element(By.ID, "filter")
    field.clear()
    field.send_keys(text)


@pytest.mark.parametrize(
    ("text", "found", "rows"),
    [
        ("Wine/3", {"Wine/3"}, ["Wine/3"]),
        ("wine 2", {"Wine/2"}, ["Wine/2"]),
        ("missing", {"Wine/2"}, ["Wine/2"]),
        ("RA021 wine", {"Wine/3", "Wine/4"}, []),
        ("critical", {"Wine/3", "Wine/4"}, []),
        ("unchanged churn 7", set(), ["Churn/7"]),
    ],
)
def test_a_search_finds_what_its_words_say(
    text: str, found: set[str], rows: list[str], open_report: Open, sample: MigrationDocument
) -> None:
    driver = open_report(sample)
    search(driver, text)
    assert set(cards(driver)) == found
    assert pairs(driver) == rows


def test_a_link_shows_what_its_sender_saw(open_report: Open, sample: MigrationDocument) -> None:
    driver = open_report(sample)
    assert len(pairs(driver)) == 200
    assert driver.find_element(By.ID, "range").text == "1 to 200 of 455"
    driver.find_element(By.CSS_SELECTOR, "[data-severity=high].toggle").click()
    driver.find_element(By.CSS_SELECTOR, "#verdict option[value=missing]").click()
    assert (cards(driver), pairs(driver)) == (["Wine/2", "Wine/5"], ["Wine/2"])
    address = driver.current_url
    assert address.endswith("#severity=high&verdict=missing")
    driver.get("about:blank")
    driver.get(address)
    assert (cards(driver), pairs(driver)) == (["Wine/2", "Wine/5"], ["Wine/2"])
    driver.find_element(By.ID, "clear").click()
    assert len(pairs(driver)) == 200


def test_the_script_draws_the_rows_that_the_page_came_with(open_report: Open, sample: MigrationDocument) -> None:
    driver = open_report(sample)
    rows = "return document.getElementById('rows').textContent.replace(/\\s+/g, '')"
    drawn = driver.execute_script(rows)
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    driver.refresh()
    assert driver.execute_script(rows) == drawn
    assert not driver.find_element(By.ID, "toolbar").is_displayed()


@pytest.mark.parametrize("asked", [False, True])
def test_paper_has_every_finding_and_the_pairs_where_they_are_asked_for(
    asked: bool, open_report: Open, sample: MigrationDocument
) -> None:
    driver = open_report(sample)
    if asked:
        driver.find_element(By.ID, "print-versions").click()
    search(driver, "nothing has this name")
    assert cards(driver) == []
    driver.execute_script(
        "addEventListener('beforeprint', () => { window.printed = [document.querySelectorAll('#rows tr').length,"
        " document.querySelectorAll('article:not([hidden])').length, document.body.className] })"
    )
    count = len(driver.find_elements(By.TAG_NAME, "article"))
    driver.execute_cdp_cmd("Page.printToPDF", {})
    assert driver.execute_script("return window.printed") == ([455, count, "js all"] if asked else [0, count, "js"])


@pytest.mark.parametrize("width", [320, 1400])
def test_the_page_never_scrolls_sideways_and_begins_with_a_finding(
    width: int, open_report: Open, sample: MigrationDocument
) -> None:
    driver = open_report(sample)
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        first = "return document.querySelector('article .message').getBoundingClientRect().bottom"
        assert driver.execute_script(first) < 900
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_one_click_copies_the_sentence_for_a_ticket(open_report: Open, sample: MigrationDocument) -> None:
    driver = open_report(sample)
    driver.execute_script(
        "navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }"
    )
    driver.find_element(By.CSS_SELECTOR, ".masthead .copier").click()
    assert driver.execute_script("return window.copied") == sample.summary.sentence

"""Both report pages have no violation that axe-core finds (WCAG and best practices), in light and in dark."""

import json
from pathlib import Path

import pytest
from selenium import webdriver
from support.two_registries import compared, facts, model

from registry_audit.report.write import load_report, render

GOLDEN = Path(__file__).parents[1] / "golden" / "report"
AXE = Path(__file__).parents[1] / "support" / "axe" / "node_modules" / "axe-core" / "axe.min.js"

pytestmark = pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: make setup, with npm")


def page_of(name: str) -> str:
    if name != "migration":
        return render(load_report(GOLDEN / f"{name}.json"), "html")
    source = [facts("Wine", number, model(f"w{number}"), storage=f"s/{number}") for number in (1, 2, 3)]
    target = [facts("Wine", 1, model("w1"), storage="t/1"), facts("Wine", 3, model("other"), storage="t/3")]
    return render(compared(source, target).document, "html")


def violations(page: str, scheme: str, width: int, browser: webdriver.Chrome, directory: Path) -> list[object]:
    file = directory / "page.html"
    file.write_text(page, encoding="utf-8")
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    try:
        browser.get(file.as_uri())
        browser.execute_script("for (const e of document.querySelectorAll('details')) e.open = true;")
        browser.execute_script("document.querySelector('button.about')?.click()")
        browser.execute_script(AXE.read_text(encoding="utf-8"))
        found: list[object] = browser.execute_async_script(
            "const done = arguments[0]; axe.run(document).then((result) => done(result.violations.map("
            "(v) => [v.id, v.impact, v.nodes.map((node) => node.html)])))"
        )
        return found
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["sample", "ledger", "migration"])
def test_axe_finds_no_violation(name: str, scheme: str, width: int, browser: webdriver.Chrome, tmp_path: Path) -> None:
    found = violations(page_of(name), scheme, width, browser, tmp_path)
    assert found == [], json.dumps(found, indent=1)


@pytest.mark.slow
def test_axe_finds_no_violation_on_a_large_page(browser: webdriver.Chrome, tmp_path: Path) -> None:
    sample = load_report(GOLDEN / "sample.json")
    versions = (sample.versions[n % 10].model_copy(update={"version": str(n)}) for n in range(3_000))
    page = render(sample.model_copy(update={"versions": tuple(versions)}), "html")
    browser.set_script_timeout(240)
    found = violations(page, "light", 1400, browser, tmp_path)
    assert found == [], json.dumps(found, indent=1)

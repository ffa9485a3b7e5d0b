"""The page in a real headless Chromium: opens from a file, asks the network for nothing, its parts work."""

import dataclasses
import json
import shutil
import time

import pytest

from batchscope.analysis.digest import digest
from batchscope.records.rows import Rows
from batchscope.report.page import html, records
from batchscope.report.page.workers import line, workers_part
from batchscope.scaling import TimeModel, advise
from tests.report import factory

pytestmark = pytest.mark.browser
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
def rows():
    return factory.study(shapes=((1, 13), (3, 11), (7, 5)), batch_sizes=(8, 32, 128, 512), num_seeds=3)


@pytest.fixture(scope="module")
def browser(rows, tmp_path_factory):
    """Chromium showing the page of two studies, one of them empty."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs Chromium and its driver: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    path = html.write_page({"digits": digest(rows), "empty": digest([])}, tmp_path_factory.mktemp("page") / "page.html")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.set_script_timeout(60)
        driver.get(path.as_uri())
        wait(driver, "return document.documentElement.dataset.ready === 'true'")
        yield driver
    finally:
        driver.quit()


def wait(driver, condition, seconds=120):
    end = time.monotonic() + seconds
    while not driver.execute_script(condition):
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        time.sleep(0.1)


def within_epochs(driver, expression):
    return driver.execute_script(f"const chart = document.getElementById('s1-largest_batch'); return {expression}")


def test_it_opens_from_a_file_without_a_word_on_the_console(browser):
    assert browser.current_url.startswith("file://")
    assert browser.get_log("browser") == []


def test_no_request_leaves_the_page(browser):
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked
    assert all(url.startswith(("file://", "data:", "blob:")) for url in asked)


def test_every_chart_is_drawn(browser):
    empty = "return [...document.querySelectorAll('.chart')].filter(c => !c.querySelector('.xtick')).map(c => c.id)"
    assert browser.execute_script("return document.querySelectorAll('.chart').length") >= 10
    assert browser.execute_script(empty) == []


def test_the_slider_changes_the_chart_and_its_number(browser):
    figure = browser.execute_script("return JSON.parse(document.getElementById('charts').textContent)")
    chart = figure["charts"]["s1-largest_batch"]
    move = """const input = document.querySelector('input[data-chart="s1-largest_batch"]');
              input.value = arguments[0]; input.dispatchEvent(new Event("input"));"""
    seen = []
    for position in (0, len(chart["values"]) - 1):
        browser.execute_script(move, position)
        heights = within_epochs(browser, "chart.data.map(trace => trace.y)")
        assert heights == chart["frames"][position]["y"]
        shown = browser.execute_script("return document.querySelector('.slider output').value")
        assert shown == chart["values"][position]
        seen.append(heights)
    assert seen[0] != seen[1]


def test_the_embedded_csv_is_the_rows(browser, rows):
    script = "window.batchscopeRows().then(arguments[arguments.length - 1])"
    assert browser.execute_async_script(script) == records.rows_as_csv(Rows.of(rows))


def test_the_download_link_becomes_the_csv(browser):
    browser.execute_script("document.getElementById('download').addEventListener('click', e => e.preventDefault())")
    browser.execute_script("document.getElementById('download').click()")
    wait(browser, "return document.getElementById('download').href.startsWith('blob:')")


def test_dark_mode_recolours_page_and_charts(browser):
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(ground), within_epochs(browser, "chart.data[0].marker.color")
    emulate(browser, "dark")
    dark = browser.execute_script(ground), within_epochs(browser, "chart.data[0].marker.color")
    emulate(browser, "light")
    assert light[0] != dark[0]
    assert light[1] != dark[1]


def emulate(driver, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    time.sleep(0.5)


def test_a_phone_scrolls_down_only(browser):
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    time.sleep(0.5)
    widths = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert widths[0] <= widths[1] == 390


def test_charts_keep_their_height_when_the_window_is_resized(browser):
    heights = "return [...document.querySelectorAll('.chart')].map(c => c.querySelector('.main-svg').clientHeight)"
    before = browser.execute_script(heights)
    browser.set_window_size(800, 700)
    time.sleep(1)
    after = browser.execute_script(heights)
    browser.set_window_size(1200, 900)
    assert after == before


def test_it_prints(browser):
    pdf = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    assert len(pdf) > 100_000


def test_long_data_are_unpacked_by_the_browser(browser, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "PLAIN_TEXT", 10)
    browser.get(html.write_page({"digits": digest(rows)}, tmp_path / "packed.html").as_uri())
    wait(browser, "return document.documentElement.dataset.ready === 'true'")
    script = "window.batchscopeRows().then(arguments[arguments.length - 1])"
    assert browser.execute_async_script(script) == records.rows_as_csv(Rows.of(rows))


@pytest.fixture(scope="module")
def moved(browser, rows, tmp_path_factory):
    """The browser with the page of a study whose steps were timed, the digest and the times."""
    one = digest(rows)
    links = {"bandwidth": 1.25e9, "latency": 5e-5, "origin": "timed on one worker"}
    times = {shape: TimeModel(0.002 * k, 1e-5 * k, 4000 + k, **links) for k, shape in enumerate(one.fits, start=1)}
    path = html.write_page({"digits": one}, tmp_path_factory.mktemp("workers") / "page.html", times=times)
    browser.get(path.as_uri())
    wait(browser, "return document.documentElement.dataset.ready === 'true'")
    return browser, one, times


TABLE = """return [...document.querySelectorAll('#s1-workers-table tbody tr')]
           .map(line => [...line.cells].map(cell => cell.textContent))"""
MOVE = """const input = document.querySelector(`input[name="${arguments[0]}"]`);
          input.value = arguments[1]; input.dispatchEvent(new Event("input"));"""


def lines(one, times, **changes):
    part = workers_part(one, times, "s1")
    options = {"price": 1.0, "deadline": part.computed["deadline"], "workers": range(1, 65)} | changes
    return [list(line(advise(times[shape], fit, name=shape, **options))) for shape, fit in one.fits.items()]


def test_where_the_sliders_begin_the_numbers_are_those_of_advise(moved):
    browser, one, times = moved
    assert browser.execute_script(TABLE) == lines(one, times)
    assert browser.get_log("browser") == []


def test_the_sliders_of_links_price_and_deadline_move_table_and_charts(moved):
    browser, one, times = moved
    before = browser.execute_script("return document.getElementById('s1-workers_time').data[2].y")
    for name, position in (("bandwidth", -20), ("latency", 10), ("price", 5), ("deadline", -3)):
        browser.execute_script(MOVE, name, position)
    time.sleep(1)
    slower = {
        shape: dataclasses.replace(model, bandwidth=model.bandwidth / 100, latency=model.latency * 10)
        for shape, model in times.items()
    }
    deadline = workers_part(one, times, "s1").computed["deadline"] * 10**-0.3
    assert browser.execute_script(TABLE) == lines(one, slower, price=10**0.5, deadline=deadline)
    assert browser.execute_script("return document.getElementById('s1-workers_time').data[2].y") != before
    emulate(browser, "dark")
    moved_ones = browser.execute_script("return document.getElementById('s1-workers_time').data[2].y")
    emulate(browser, "light")
    assert moved_ones != before  # another theme draws what the sliders say, not where they began
    outputs = browser.execute_script(
        "return [...document.querySelectorAll('[data-workers] + output')].map(o => o.value)"
    )
    assert outputs[:3] == ["12.5 MB/s", "500 µs", "3.16"]

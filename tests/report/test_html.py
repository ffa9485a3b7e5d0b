"""The page as text: ten sections for any rows, a table behind every chart, nothing from outside, the data inside."""

import csv
import errno
import io
import json
import os
import re
from html import escape, unescape
from html.parser import HTMLParser

import plotly.graph_objects as go
import pytest

from batchscope.analysis.digest import digest
from batchscope.errors import StoreError
from batchscope.records.rows import Rows
from batchscope.report.charts import CHARTS
from batchscope.report.charts.chart import Table
from batchscope.report.page import html, records
from batchscope.report.page.parts import table_html
from batchscope.report.page.sections import sections
from batchscope.report.terminal import study_text
from tests.report import factory
from tests.report.odd_rows import ODD, SMALL

TITLES = ("Verdict", "Largest batch", "Run ledger", "Residuals and sensitivity", "Provenance", "Data")


class Page(HTMLParser):
    """Ids, links, text of scripts by id or type, and the number of every tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.links, self.sources, self.scripts, self.tags = [], [], [], {}, []
        self._script = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []
        self.sources += [values["src"]] if "src" in values else []
        if tag == "script":
            self._script = values.get("id", "code")
            self.scripts[self._script] = ""

    def handle_endtag(self, tag):
        self._script = None if tag == "script" else self._script

    def handle_data(self, data):
        if self._script:
            self.scripts[self._script] += data


@pytest.fixture(scope="module")
def small():
    origin = html.Origin("batchscope report runs/x --html x.html", 'name = "digits"\n', [{"command": ["run", "a b"]}])
    return Page(html.page({"digits": digest(SMALL)}, origin))


def test_ids_are_unique_links_lead_somewhere_and_nothing_comes_from_outside(small):
    assert len(small.ids) == len(set(small.ids))
    inner = {link[1:] for link in small.links if link.startswith("#")}
    assert inner <= set(small.ids)
    assert all(link.startswith(("#", "data:,")) for link in small.links)
    assert small.sources == []


def test_every_chart_has_a_place_a_table_and_a_figure_plotly_accepts(small):
    charts = json.loads(small.scripts["charts"])["charts"]
    assert len(charts) >= 9
    assert set(charts) <= set(small.ids)
    assert small.tags.count("details") >= len(charts)
    for chart in charts.values():
        text = re.sub(
            r'"@\w+(\.\d+)?(/\d+)?"', '"#123456"', json.dumps({key: chart[key] for key in ("data", "layout")})
        )
        go.Figure(json.loads(text))


def test_plotly_is_embedded_once(small):
    assert small.ids.count("plotly") == 1
    assert len(small.scripts["plotly"]) > 1_000_000


def test_frames_of_the_slider_fit_their_traces(small):
    charts = json.loads(small.scripts["charts"])["charts"]
    (chart,) = [chart for chart in charts.values() if "frames" in chart]
    assert len(chart["frames"]) == len(chart["values"]) > 5
    for frame in chart["frames"]:
        assert all(len(part) == len(chart["data"]) for part in frame.values())


def test_the_largest_batch_never_falls_as_more_epochs_are_allowed(small):
    charts = json.loads(small.scripts["charts"])["charts"]
    (chart,) = [chart for chart in charts.values() if "frames" in chart]
    for shape in range(len(chart["data"])):
        heights = [y for frame in chart["frames"] for y in frame["y"][shape]]
        assert heights == sorted(heights)
        assert len(heights) > 5


@pytest.mark.parametrize("rows", ODD.values(), ids=ODD)
def test_all_ten_sections_are_there_for_any_rows(rows):
    text = html.page({"odd": digest(rows)})
    numbers = re.findall(r"<h3><span>(\d+)</span>", text)
    assert numbers == [str(number) for number in range(1, 11)]
    assert all(title in text for title in TITLES)
    assert not re.search(r"\b(nan|None)\b", re.sub(r"<script.*?</script>", "", text, flags=re.S))


def test_a_page_of_no_studies_is_a_page():
    assert "no studies" in html.page({})


def test_equal_rows_give_equal_pages():
    assert html.page({"a": digest(SMALL)}) == html.page({"a": digest(SMALL)})


def test_several_studies_share_one_page():
    page = Page(html.page({"a": digest(SMALL), "b": digest(ODD["one"])}))
    assert len(page.ids) == len(set(page.ids))
    assert {"s1-verdict", "s2-verdict", "s1-run-ledger", "s2-run-ledger"} <= set(page.ids)


def test_what_rows_say_cannot_become_markup():
    evil = "</script><img src=x onerror=alert(1)>"
    rows = [factory.crashed(message=evil, shape=evil), factory.row(shape=evil, versions=evil, seed=2)]
    page = Page(html.page({evil: digest(rows)}, html.Origin(evil, evil, [{evil: evil}], {evil: [evil]})))
    assert "img" not in page.tags
    assert page.tags.count("script") == 4


def test_provenance_says_how_the_page_and_the_runs_came_about():
    runs = [{"command": ["batchscope", "run", "a b"], "machine": "x86"}, {"command": ["batchscope", "run", "c"]}]
    origin = html.Origin("batchscope report DIR", "name = 'x'", runs, {"digits": ["scaled: small"]})
    text = html.page({"digits": digest([factory.row()])}, origin)
    for said in (
        "batchscope report DIR",
        "batchscope run &#x27;a b&#x27;",
        "x86",
        "scaled: small",
        "name = &#x27;x&#x27;",
    ):
        assert said in text
    for fact in (factory.VERSIONS, "0123456789abcdef", "abc1234"):
        assert fact in text


def test_the_csv_holds_every_row(small):
    lines = list(csv.DictReader(io.StringIO(small.scripts["rows"])))
    assert sorted(line["trial_id"] for line in lines) == sorted(row.trial_id for row in SMALL)
    by_id = {row.trial_id: row for row in SMALL}
    for line in lines:
        row = by_id[line["trial_id"]]
        assert line["outcome"] == row.outcome.value
        assert float(line["step_size"]) == pytest.approx(row.step_size, rel=1e-5)
        assert line["epochs_to_target"] == ("" if row.epochs_to_target is None else f"{row.epochs_to_target:g}")
        assert line["message"] == row.message


def test_csv_quotes_what_needs_it():
    text = records.rows_as_csv(Rows.of([factory.crashed(message='a "b", c\nd')]))
    (line,) = csv.DictReader(io.StringIO(text))
    assert line["message"] == 'a "b", c\nd'
    assert line["train_loss"] == ""


def test_long_data_are_compressed_and_come_back():
    import base64
    import gzip

    encoding, content = records.embedded("x" * (records.PLAIN_TEXT + 1))
    assert encoding == "gzip"
    assert gzip.decompress(base64.b64decode(content)).decode() == "x" * (records.PLAIN_TEXT + 1)


def test_failures_are_grouped_by_message_most_frequent_first():
    rows = [factory.crashed(seed=0, message="rare")]
    rows += [factory.diverged(seed=seed, message="often", batch_size=2**seed) for seed in range(1, 7)]
    _, failures = records.ledger(Rows.of(rows))
    assert [line[2:4] for line in failures.lines] == [("often", "6"), ("rare", "1")]
    assert failures.lines[0][5] == "2, 4, 8, 16 and 2 more"


def test_seconds_and_outcomes_add_up_in_the_ledger():
    outcomes, _ = records.ledger(Rows.of(factory.study()))
    total = sum(int(line[outcomes.heads.index("n (runs)")]) for line in outcomes.lines)
    assert total == len(factory.study())


def said(one):
    """What the first section of a page says, as text."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", sections(one)[0].lead)))


@pytest.mark.parametrize("rows", [*ODD.values(), factory.study(shapes=((1, 21), (20, 12)), max_epochs=1000)])
def test_the_page_begins_with_the_headline_of_terminal_and_json(rows):
    one = digest(rows)
    assert said(one).strip().startswith(one.headline.sentence)
    assert one.headline.sentence in re.sub(r"\s+", " ", study_text(one))
    assert one.headline.sentence == one.headline.as_dict()["sentence"]


def test_every_finding_is_shown_with_decision_statistic_and_sentence():
    one = digest(factory.study(shapes=((1, 21), (20, 12)), max_epochs=1000))
    items = re.findall("<li>.*?</li>", sections(one)[0].lead)
    assert len(items) == len(one.findings) == 5
    for item, finding in zip(items, one.findings, strict=True):
        text = unescape(re.sub(r"<[^>]*>", " ", item))
        assert re.search(rf"{finding.decision} +{re.escape(finding.name)} +{re.escape(finding.statement)}", text)
        assert finding.evidence is None or finding.evidence.short in text or finding.evidence.short == "-"
        assert finding.sentence[-60:] in text
        assert not re.search(r"= [<>]", text)


def test_other_questions_are_called_exploratory_and_counted():
    one = digest(factory.study(shapes=((1, 21), (20, 12)), max_epochs=1000))
    table = sections(one)[0].tables[-1]
    assert table.caption.startswith(
        f"Exploratory: the same runs, asked differently. {len(one.exploratory)} comparisons"
    )
    assert [line[-1] for line in table.lines] == [verdict.decision for verdict in one.exploratory]


def test_of_several_studies_the_navigation_shows_each_headline():
    one = digest(SMALL)
    navigation = re.search("<nav>.*?</nav>", html.page({"a": one, "b": one}), re.S)[0]
    assert navigation.count(escape(one.headline.epochs)) == 2


def test_sections_of_a_full_study_have_their_charts():
    names = [name for part in sections(digest(factory.study())) for name in part.charts]
    assert names == [name for name in CHARTS if name != "protocols"]


def test_tables_escape_text_and_set_numbers_flush_right():
    text = table_html(Table(("name", "value"), (("a<b", "≥ 12.5"), ("c", "[1, 2]"))))
    assert "a&lt;b" in text
    assert text.count("class=n") == 3
    assert "no rows" in table_html(Table(("name",), ()))


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(StoreError, match="cannot be written"):
        html.write_page({}, tmp_path)


def test_a_full_disk_leaves_the_page_that_was_there(tmp_path, monkeypatch):
    page = html.write_page({}, tmp_path / "page.html")
    before = page.read_text()
    monkeypatch.setattr(os, "replace", _full)
    with pytest.raises(StoreError, match="No space left"):
        html.write_page({"a": digest([])}, page)
    assert page.read_text() == before
    assert list(tmp_path.iterdir()) == [page]


def _full(*paths):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_every_colour_of_a_chart_is_one_of_both_themes(small):
    found = json.loads(small.scripts["charts"])
    tokens = set(re.findall(r'"@(\w+)(?:\.(\d+))?(?:/\d+)?"', json.dumps(found["charts"])))
    assert {name for name, _ in tokens} >= {"ink", "muted", "grid", "paper", "heat", "ramp2"}
    for theme in ("light", "dark"):
        for name, index in tokens:
            value = found["colours"][theme][name]
            assert re.fullmatch("#[0-9a-f]{6}", value[int(index)] if index else value)


def test_prose_refers_to_no_section_by_number(small):
    said = re.sub(r"<script.*?</script>|<style.*?</style>", "", html.page({"digits": digest(SMALL)}), flags=re.S)
    assert not re.search(r"[Ss]ection \d", said)


@pytest.mark.slow
def test_a_hundred_thousand_rows_make_a_page_under_eight_megabytes():
    shapes = [(depth, 30 - depth) for depth in range(1, 11)]
    rows = factory.study(shapes, [2**k for k in range(3, 11)], num_seeds=1250)
    assert len(rows) > 100_000
    assert len(html.page({"large": digest(rows)}).encode()) < 8_000_000

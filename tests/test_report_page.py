"""The page: traceable to summary.json, self-contained, the same bytes every time, and unmoved by what is absent."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lightsleeper.errors import InputError
from lightsleeper.report import write_report
from lightsleeper.report.values import format_value, resolve
from report_run import summary, traces, write_run

LOADING = {"src", "href", "srcset", "data", "action", "poster", "background", "formaction"}


class Page(HTMLParser):
    """Figures with their keys, attributes that may load something, text, and figures' JSON of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.shown: list[tuple[str, str, str]] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.ids: set[str] = set()
        self.text = ""
        self.css = ""
        self.plots: dict[str, Any] = {}
        self._open: tuple[str, str] | None = None
        self._script: str | None = None
        self._inside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.ids.add(values.get("id", ""))
        self.loads += [value for name, value in values.items() if name in LOADING]
        self._inside = tag
        self._script = values.get("data-plot") if tag == "script" else None
        if "data-key" in values:
            self._open = (values["data-key"], values["data-style"])
            self.shown.append((*self._open, ""))

    def handle_endtag(self, tag: str) -> None:
        self._open = None
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            if self._script:
                self.plots[self._script] = json.loads(data)
        elif self._inside == "style":
            self.css += data
        else:
            self.text += data
            if self._open:
                key, style, text = self.shown[-1]
                self.shown[-1] = (key, style, text + data)


def page_of(folder: Path, figures: dict[str, Any] | None = None, **more: Any) -> tuple[str, Page]:
    html = write_report(write_run(folder, figures=figures, **more)).read_text(encoding="utf-8")
    return html, Page(html)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page]:
    return page_of(tmp_path_factory.mktemp("report") / "run")


def test_every_figure_shown_is_the_summary_at_its_key(whole: tuple[str, Page]):
    _, page = whole
    data = json.loads(json.dumps(summary()))
    absent = [key for key, _, _ in page.shown if resolve(data, key) is None and ".validation." not in key]
    assert absent == []
    for key, style, text in page.shown:
        assert text == format_value(resolve(data, key), style), key
    assert len(page.shown) > 150


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("first_stage.recall", "95.0 %"),
        ("first_stage.recall_interval", "87.8 to 98.0 %"),
        ("first_stage.false_wakes_per_hour", "4.31"),
        ("first_stage.false_wakes_per_hour_interval", "3.12 to 5.87"),
        ("first_stage.power_w", "21.0 µW"),
        ("energy.analyse_first.battery_days", "111 days"),
        ("energy.battery_life_extension_percent.catalogue", "+521 %"),
        ("energy.battery_life_extension_percent.energy_gated", "−11.8 %"),
    ],
)
def test_the_answer_comes_first(whole: tuple[str, Page], key: str, text: str):
    _, page = whole
    first = [(shown, written) for shown, _, written in page.shown[:30]]
    assert (key, text) in first


@pytest.mark.parametrize(
    "key",
    [
        "task.clips",
        "task.sources",
        "task.test_hours",
        "task.test_floor_hours",
        "task.test_events",
        "task.test_foreign",
        "task.snr_db",
        "seeds.scene.test",
        "versions.torch",
        "command",
        "system.miss_rate",
        "system.false_accepts_per_hour_interval",
        "first_stage.late_hits",
        "first_stage.latency_s.p95",
        "first_stage.false_wakes_per_100_foreign_interval",
        "first_stage.false_wakes_per_hour_floor",
        "first_stage.validation.recall",
        "first_stage.area_by_block_mm2.filters",
        "first_stage.power_by_block_w.amplifier",
        "first_stage.bands.7.q",
        "first_stage.recall_by_snr_db.0.interval",
        "first_stage.false_wakes_by_label.door_knock.wakes",
        "energy.break_even_wakes_per_hour.best_digital",
        "energy.analyse_first.excluded.0",
        "training.digital_stage.optimizer",
        "task.target.false_wakes_per_hour",
        "reduction.samples_per_second",
        "limits.2",
    ],
)
def test_the_page_holds(whole: tuple[str, Page], key: str):
    assert key in {shown for shown, _, _ in whole[1].shown}


def test_every_part_shows_power_and_source(whole: tuple[str, Page]):
    shown = {key for key, _, _ in whole[1].shown}
    block = summary()["energy"]
    entries = {"analyse_first": block["analyse_first"]} | {
        f"digitise_first.{name}": entry for name, entry in block["digitise_first"].items()
    }
    for system, entry in entries.items():
        for number in range(len(entry["parts"])):
            assert {f"energy.{system}.parts.{number}.{name}" for name in ("part", "power_w", "source")} <= shown


def test_the_page_loads_nothing(whole: tuple[str, Page]):
    html, page = whole
    assert {load for load in page.loads if not load.startswith("#")} == {"data:,"}
    assert not {"iframe", "img", "object", "embed", "base"} & set(page.tags)
    assert "url(" not in page.css
    assert "@import" not in page.css
    assert "default-src 'none'" in html
    assert "connect-src" not in html, "the policy's default forbids every connection"
    assert "showSendToCloud: false" in html


def test_links_lead_to_sections(whole: tuple[str, Page]):
    _, page = whole
    assert {load[1:] for load in page.loads if load.startswith("#")} <= page.ids
    assert len([load for load in page.loads if load.startswith("#")]) == 12


def test_all_figures_are_drawn_into_their_places(whole: tuple[str, Page]):
    _, page = whole
    assert set(page.plots) == {
        *("plot-responses", "plot-det", "plot-timeline", "plot-snr", "plot-classes", "plot-parts", "plot-life"),
        *("plot-training_wake_stage", "plot-training_digital_stage"),
    }
    assert set(page.plots) <= page.ids
    assert "Not drawn" not in page.text


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, whole: tuple[str, Page]):
    run = write_run(tmp_path / "elsewhere")
    assert write_report(run).read_bytes() == write_report(run).read_bytes() == whole[0].encode()


def test_synthetic_recordings_carry_a_banner(tmp_path: Path, whole: tuple[str, Page]):
    figures = summary()
    figures["task"]["synthetic"] = True
    _, page = page_of(tmp_path / "run", figures)
    assert "Synthetic recordings." in page.text
    assert "Synthetic recordings." not in whole[1].text


def test_circuit_parameters_have_units_and_fold_matrices(whole: tuple[str, Page]):
    text = re.sub(r"\s+", " ", whole[1].text)
    assert "All 8 parameters of frontend.json" in text
    for cell in ("supply_v1.80 V", "capacitance_f2.00 pF", "hidden_weight8 rows of 24 values", "saturatesyes"):
        assert cell in text


def test_labels_and_sources_are_escaped(tmp_path: Path):
    evil = "</script><img src=x onerror=alert(1)>&.\\"
    figures = summary()
    figures["task"]["wake"] = evil
    figures["first_stage"]["false_wakes_by_label"] = {evil: {"wakes": 1, "sounds": 2}}
    figures["energy"]["analyse_first"]["parts"][0]["source"] = evil
    figures["energy"]["analyse_first"]["parts"][0]["part"] = evil
    figures["energy"]["digitise_first"] = {evil: figures["energy"]["digitise_first"]["catalogue"]}
    figures["energy"]["battery_life_extension_percent"] = {evil: 5.0}
    figures["limits"] = [evil]
    arrays = traces()
    arrays["timeline_event_label"][:] = evil[:14]
    html, page = page_of(tmp_path / "run", figures, arrays=arrays)
    assert "<img" not in html.replace("plotly", "").split("plotly.js v")[0]
    assert "img" not in page.tags
    for key, style, text in page.shown:
        if "validation" not in key and resolve(figures, key) is not None:
            assert text == format_value(resolve(figures, key), style)
    assert evil in [text for key, _, text in page.shown if key == "task.wake"]


def emptied(data: Any) -> Any:
    return {name: emptied(value) for name, value in data.items()} if isinstance(data, dict) else None


def test_figures_that_were_not_measured_are_dashes(tmp_path: Path):
    figures = summary()
    figures["first_stage"] |= {
        "recall": None,
        "recall_interval": None,
        "latency_s": {"median": None, "p95": float("nan")},
    }
    figures["energy"]["break_even_wakes_per_hour"]["catalogue"] = None
    _, page = page_of(tmp_path / "run", figures)
    texts = {key: text for key, _, text in page.shown}
    for key in ("recall", "latency_s.median", "latency_s.p95"):
        assert texts[f"first_stage.{key}"] == "-"
    assert texts["energy.break_even_wakes_per_hour.catalogue"] == "-"


@pytest.mark.parametrize("figures", [{}, emptied(summary()), dict.fromkeys(summary())])
def test_a_summary_of_nothing_still_makes_a_page(tmp_path: Path, figures: dict[str, Any]):
    _, page = page_of(tmp_path / "run", figures)
    assert {text for _, _, text in page.shown} == {"-"}
    assert "Not drawn: this run holds no first_stage.recall_by_snr_db." in page.text


def paths(data: Any, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(data, dict):
        return [above]
    return [above, *(path for name, value in data.items() for path in paths(value, (*above, name)))]


def test_any_one_key_may_be_missing_or_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lightsleeper.report.page.get_plotlyjs", lambda: "")
    arrays = {name: array for name, array in traces().items() if name.startswith("det")}
    run = write_run(tmp_path / "run", arrays=arrays)
    whole = json.dumps(summary())
    for path in paths(summary())[1:]:
        key = re.escape(".".join(path))
        for absent in (True, False):
            figures = block = json.loads(whole)
            for name in path[:-1]:
                block = block[name]
            block[path[-1]] = None
            if absent:
                del block[path[-1]]
            (run / "summary.json").write_text(json.dumps(figures), encoding="utf-8")
            html = write_report(run).read_text(encoding="utf-8")
            assert html.rstrip().endswith("</html>")
            assert set(re.findall(rf'data-key="{key}"[^>]*>([^<]*)<', html)) <= {"-"}, path


def test_a_missing_array_is_named_where_its_figure_would_stand(tmp_path: Path):
    arrays = traces()
    del arrays["timeline_hidden_v"]
    arrays["det_recall"], arrays["det_false_wakes_per_hour"] = arrays["det_recall"][:0], arrays["det_recall"][:0]
    _, page = page_of(tmp_path / "run", arrays=arrays)
    assert "Not drawn: this run holds no timeline_hidden_v." in page.text
    assert "Not drawn: this run holds no det_false_wakes_per_hour, det_recall." in page.text
    assert "plot-timeline" not in page.plots
    assert "plot-life" in page.plots


def test_a_figure_of_the_wrong_kind_is_named(tmp_path: Path):
    figures = summary()
    figures["first_stage"]["power_w"] = "little"
    run = write_run(tmp_path / "run", figures=figures)
    with pytest.raises(InputError, match=r"first_stage\.power_w cannot be shown"):
        write_report(run)
    assert not (run / "report.html").exists()

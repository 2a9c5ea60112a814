"""Figures of the page: what they draw is what the run holds."""

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightsleeper.report import energy_figures, figures
from lightsleeper.report.run_folder import RunFolder
from lightsleeper.report.style import band_colours, rounded, thinned
from lightsleeper.report.timeline import NETS, block_peaks, level_db, timeline
from report_run import CENTRES_HZ, summary, traces

ALL = {
    "responses": figures.responses,
    "det": figures.det,
    "snr": figures.snr,
    "classes": figures.classes,
    "training": lambda run: figures.training(run, "wake_stage"),
    "timeline": timeline,
    "parts": energy_figures.parts,
    "life": energy_figures.life,
}


@pytest.fixture
def run() -> RunFolder:
    return RunFolder(summary(), traces(), {})


def named(figure: dict[str, Any], name: str) -> dict[str, Any]:
    return next(trace for trace in figure["data"] if name in trace.get("name", ""))


@pytest.mark.parametrize("name", ALL)
def test_figures_are_plain_json_with_titled_axes(run: RunFolder, name: str):
    figure = ALL[name](run)
    assert json.dumps(figure, allow_nan=False) == json.dumps(ALL[name](run), allow_nan=False)
    axes = [axis for key, axis in figure["layout"].items() if re.fullmatch(r"[xy]axis\d*", key)]
    titled = [axis for axis in axes if axis["title"]["text"]]
    assert all(re.search(r"\(.+\)|per hour|Step", axis["title"]["text"]) for axis in titled), "units stand in titles"
    assert titled


def test_bands_go_from_low_to_high_whatever_their_order(run: RunFolder):
    shuffled = [3, 0, 7, 1, 2, 6, 5, 4]
    run.summary["first_stage"]["bands"] = [run.summary["first_stage"]["bands"][band] for band in shuffled]
    run.traces["response_db"] = run.traces["response_db"][shuffled]
    peaks = [trace["x"][int(np.argmax(trace["y"]))] for trace in figures.responses(run)["data"]]
    np.testing.assert_allclose(peaks, CENTRES_HZ, rtol=0.03)
    assert figures.band_order(run, 8)[1][:5] == ["180 Hz", "320 Hz", "560 Hz", "980 Hz", "1.70 kHz"]


def test_bands_without_centres_are_numbered(run: RunFolder):
    run.summary["first_stage"]["bands"] = None
    assert figures.band_order(run, 2) == ([0, 1], ["band 1", "band 2"])


def test_det_passes_through_its_thresholds_and_marks_the_design(run: RunFolder):
    figure = figures.det(run)
    curve, point = named(figure, "all thresholds"), named(figure, "this design")
    assert all(before <= after for before, after in zip(curve["x"], curve["x"][1:], strict=False))
    at = int(np.argmin(np.abs(run.traces["det_false_wakes_per_hour"] - 4.0)))
    drawn = np.interp(run.traces["det_false_wakes_per_hour"][at], curve["x"], curve["y"])
    assert drawn == pytest.approx(100 * (1 - run.traces["det_recall"][at]), rel=0.01)
    assert (point["x"], point["y"]) == ([4.31], [5.0])
    assert point["error_x"]["arrayminus"][0] == pytest.approx(4.31 - 3.12)
    assert point["y"][0] + point["error_y"]["array"][0] == pytest.approx(12.2)
    assert point["y"][0] - point["error_y"]["arrayminus"][0] == pytest.approx(2.0)


def test_det_leaves_out_what_a_logarithm_cannot_show(run: RunFolder):
    run.traces["det_false_wakes_per_hour"] = np.array([0.0, 1.0, 2.0, np.nan])
    run.traces["det_recall"] = np.array([0.2, 0.9, 1.0, 1.0])
    curve = named(figures.det(run), "all thresholds")
    assert curve["x"] == [1.0, 2.0]
    assert curve["y"] == [10.0, 0.625], "no miss in 80 events is drawn at half an event"


def test_a_perfect_or_unmeasured_design_does_not_crash(run: RunFolder):
    run.summary["first_stage"] |= {"recall": 1.0, "recall_interval": [0.95, 1.0]}
    assert named(figures.det(run), "this design")["y"] == [0.625]
    run.summary["first_stage"] |= {"recall": None, "recall_interval": None, "false_wakes_per_hour": 0.0}
    assert len(figures.det(run)["data"]) == 1


def test_snr_sorts_levels_as_numbers_and_skips_the_unmeasured(run: RunFolder):
    run.summary["first_stage"]["recall_by_snr_db"]["-5"] = {"recall": 0.3, "interval": None, "events": 10}
    run.summary["first_stage"]["recall_by_snr_db"]["7"] = {"recall": None, "interval": None, "events": 0}
    trace = figures.snr(run)["data"][0]
    assert trace["x"] == [-5.0, 0.0, 5.0, 10.0, 20.0]
    assert trace["y"][:2] == [30.0, 60.0]
    assert trace["error_y"]["array"][1] == pytest.approx(13.0)


def test_classes_stand_worst_on_top_and_at_most_twenty(run: RunFolder):
    trace = figures.classes(run)["data"][0]
    assert trace["y"][-3:] == ["dog", "door knock", "clapping"]
    assert trace["text"][-1] == "11 of 29"
    run.summary["first_stage"]["false_wakes_by_label"] = {
        f"label.{number}": {"wakes": number, "sounds": 100} for number in range(50)
    } | {"none": {"wakes": 0, "sounds": 0}}
    trace = figures.classes(run)["data"][0]
    assert (len(trace["x"]), trace["x"][0], trace["x"][-1]) == (20, 30.0, 49.0)


def test_labels_cannot_speak_plotly_markup(run: RunFolder):
    run.summary["first_stage"]["false_wakes_by_label"] = {"<a href='x'>&": {"wakes": 1, "sounds": 2}}
    assert figures.classes(run)["data"][0]["y"] == ["&lt;a href='x'&gt;&amp;"]
    run.traces["timeline_event_label"] = np.array(["<b>bang</b>"] * 8)
    assert "<b>" not in json.dumps(timeline(run))


def test_training_shows_raw_and_averaged_weights(run: RunFolder):
    run.traces["training_wake_stage_averaged_loss"][:5] = np.nan
    figure = figures.training(run, "wake_stage")
    assert len(named(figure, "as they step")["x"]) == 90
    assert named(figure, "averaged weights")["x"][0] == 50
    assert len(named(figure, "plain SGD")["x"]) == 90
    assert figure["layout"]["yaxis"]["type"] == "log"
    run.traces["training_wake_stage_loss"][3] = -0.1
    assert "type" not in figures.training(run, "wake_stage")["layout"]["yaxis"], "a negative loss has no logarithm"


def test_timeline_shades_events_and_marks_wakes(run: RunFolder):
    layout = timeline(run)["layout"]
    shading = [shape for shape in layout["shapes"] if shape["type"] == "rect"]
    lines = [shape["x0"] for shape in layout["shapes"] if shape["type"] == "line"]
    assert [shape["x0"] for shape in shading] == run.traces["timeline_event_onset_s"].tolist()
    assert [shape["fillcolor"].startswith("rgba(0,158,115") for shape in shading] == [
        bool(wake) for wake in run.traces["timeline_event_wake"]
    ]
    assert lines == pytest.approx(run.traces["timeline_wakes_s"].tolist())


def test_timeline_names_events_on_hover_and_draws_the_threshold(run: RunFolder):
    figure = timeline(run)
    assert named(figure, "wake event")["text"] == ["glass breaking"] * 3
    assert named(figure, "foreign sound")["text"][:2] == ["dog", "door knock"]
    thresholds = [trace["y"] for trace in figure["data"] if "threshold" in trace.get("hovertemplate", "")]
    assert thresholds == [[0.271, 0.271]]


def test_each_button_shows_one_envelope_and_hides_no_waveform(run: RunFolder):
    figure = timeline(run)
    maps = [index for index, trace in enumerate(figure["data"]) if trace["type"] == "heatmap"]
    assert [figure["data"][index]["visible"] for index in maps] == [True, False, False]
    for chosen, button in enumerate(figure["layout"]["updatemenus"][0]["buttons"]):
        visible = button["args"][1]
        assert len(visible) == len(figure["data"])
        hidden = [index for index, shown in enumerate(visible) if not shown]
        assert hidden == [index for index in maps if index != maps[chosen]]
        assert button["label"] == NETS[chosen][1]


def test_a_minute_without_events_or_wakes_is_drawn(run: RunFolder):
    for name, array in run.traces.items():
        if name.startswith("timeline_event") or name == "timeline_wakes_s":
            run.traces[name] = array[:0]
    run.summary["first_stage"]["threshold_v"] = None
    assert timeline(run)["layout"]["shapes"] == []


def test_a_long_timeline_stays_small_and_keeps_its_peak(run: RunFolder):
    run.traces.update(traces(600.0))
    run.traces["timeline_integral_v"][54321] = 9.0
    figure = timeline(run)
    assert len(json.dumps(figure)) < 1_500_000
    assert any(trace["yaxis"] == "y6" and 9.0 in trace["y"] for trace in figure["data"] if "yaxis" in trace)


def test_parts_add_up_to_each_system(run: RunFolder):
    figure = energy_figures.parts(run)
    stacked_w = 1e-6 * np.sum([trace["x"] for trace in figure["data"]], axis=0)
    block = run.summary["energy"]
    expected_w = [block["analyse_first"]["power_w"], *(entry["power_w"] for entry in block["digitise_first"].values())]
    np.testing.assert_allclose(stacked_w, expected_w, rtol=0.005)
    colours = energy_figures.part_colours(run)
    assert [trace["marker"]["color"] for trace in figure["data"]] == list(colours.values())
    assert len(set(colours.values())) == len(colours) == 8


def test_life_marks_break_even_on_the_curve(run: RunFolder):
    figure = energy_figures.life(run)
    curve = named(figure, "analyse first")
    assert curve["x"][0] == 0.1, "a rate of zero has no place on a logarithmic axis"
    circles = [trace for trace in figure["data"] if "break-even" in trace["hovertemplate"]]
    assert len(circles) == 3
    for circle in [*circles, named(figure, "measured rate")]:
        assert np.interp(np.log(circle["x"][0]), np.log(curve["x"]), curve["y"]) == pytest.approx(
            circle["y"][0], rel=0.02
        )
    (band,) = figure["layout"]["shapes"]
    assert (band["x0"], band["x1"]) == (7.4, 14.1)


def test_life_without_interval_or_break_even(run: RunFolder):
    block = run.summary["energy"]
    del block["analyse_first"]["wakes_per_hour_interval"], block["analyse_first"]["battery_days_interval"]
    block["break_even_wakes_per_hour"] = {"catalogue": None}
    figure = energy_figures.life(run)
    assert figure["layout"]["shapes"] == []
    assert not any("break-even" in trace["hovertemplate"] for trace in figure["data"])


@given(st.integers(1, 5000), st.integers(10, 400), st.integers(0, 2**32 - 1))
def test_thinning_keeps_ends_order_and_extremes(size: int, points: int, seed: int):
    values = np.random.default_rng(seed).standard_normal(size)
    time_s, kept = thinned(np.arange(size), values, points)
    assert kept.size <= max(points + 4, 2)
    assert (np.diff(time_s) > 0).all()
    assert (time_s[0], time_s[-1]) == (0, size - 1)
    assert (kept.min(), kept.max()) == (values.min(), values.max())
    np.testing.assert_array_equal(values[time_s.astype(int)], kept)


def test_block_peaks_and_levels():
    np.testing.assert_array_equal(block_peaks(np.array([[1, 5, 2, 0, 3]]), 3), [[5, 2, 3]])
    np.testing.assert_allclose(level_db(np.array([1.0, -0.1, 0.0])), [0, -20, -60])
    assert np.isfinite(level_db(np.zeros(3))).all()


def test_numbers_are_rounded_and_gaps_are_null():
    assert rounded([[1.23456, np.nan], [np.inf, -2e-9]]) == [[1.235, None], [None, -2e-9]]


def test_band_colours_differ_and_are_colours():
    colours = band_colours(12)
    assert len(set(colours)) == 12
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)

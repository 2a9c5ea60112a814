"""The one picture: valid SVG from the run's data, small, the same every time."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from lightsleeper.errors import InputError
from lightsleeper.report import write_picture
from report_run import summary, traces, write_run

SVG = "{http://www.w3.org/2000/svg}"


def drawn(folder: Path, **more: object) -> tuple[str, ElementTree.Element]:
    out = folder.parent / f"{folder.name}.svg"
    write_picture(write_run(folder, **more), out)  # type: ignore[arg-type]
    text = out.read_text(encoding="utf-8")
    return text, ElementTree.fromstring(text)


def paths(root: ElementTree.Element, **wanted: str) -> list[str]:
    found = root.iter(f"{SVG}path")
    return [path.get("d", "") for path in found if all(path.get(k.replace("_", "-")) == v for k, v in wanted.items())]


def test_small_self_contained_and_on_its_own_white_ground(tmp_path: Path):
    text, root = drawn(tmp_path / "run")
    assert len(text.encode()) < 150_000
    ground = next(iter(root.iter(f"{SVG}rect")))
    assert (ground.get("fill"), ground.get("width")) == ("#ffffff", "1000")
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert "<image" not in text
    assert "<script" not in text


def test_the_same_run_gives_the_same_bytes(tmp_path: Path):
    assert drawn(tmp_path / "one")[0] == drawn(tmp_path / "two")[0]


def test_headline_figures_and_rivals_are_written(tmp_path: Path):
    _, root = drawn(tmp_path / "run")
    text = " ".join("".join(root.itertext()).split())
    for expected in ("recall 95.0 %, 4.31 false wakes an hour, first stage 21.0 µW", "271 mV", "111 days", "CR2032"):
        assert expected in text
    for rival in ("catalogue +521 %", "best digital +57.8 %", "energy gated −11.8 %"):
        assert rival in text
    assert "synthetic" not in text


def test_synthetic_recordings_are_named(tmp_path: Path):
    figures = summary()
    figures["task"]["synthetic"] = True
    assert "(synthetic recordings)" in drawn(tmp_path / "run", figures=figures)[0]


def test_wakes_stand_at_their_times(tmp_path: Path):
    _, root = drawn(tmp_path / "run")
    marks = [float(re.match(r"M([\d.]+)", d)[1]) for d in paths(root, fill="#D55E00") if d.endswith("l6 11h-12z")]
    last_s = traces()["timeline_time_s"][-1]
    np.testing.assert_allclose(marks, 70 + 530 * traces()["timeline_wakes_s"] / last_s, atol=0.06)


def test_the_integral_crosses_the_drawn_threshold_at_wake_events_only(tmp_path: Path):
    _, root = drawn(tmp_path / "run")
    (line,) = paths(root, stroke="#0072B2", stroke_width="1.6")
    points = np.array([[float(value) for value in pair.split()] for pair in line[1:].split("L")])
    (threshold,) = [d for d in paths(root, stroke_dasharray="5 4") if d.startswith("M70")]
    above = points[points[:, 1] < float(threshold.split()[1].split("H")[0])]
    seconds = (above[:, 0] - 70) / 530 * traces()["timeline_time_s"][-1]
    arrays = traces()
    wanted = arrays["timeline_event_wake"]
    onsets = arrays["timeline_event_onset_s"][wanted]
    assert set(np.searchsorted(onsets, seconds)) == {1, 2, 3}
    assert all(np.min(np.abs(second - onsets)) < 2.0 for second in seconds)


def test_the_heat_strip_covers_its_panel_once(tmp_path: Path):
    _, root = drawn(tmp_path / "run")
    cells = [cell for d in paths(root) for cell in re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)v14\.0H", d)]
    area = sum(float(width) * 14.0 for _, _, width in cells)
    assert area == pytest.approx(530 * 112, rel=0.01)


def test_labels_are_escaped(tmp_path: Path):
    figures = summary()
    figures["task"]["wake"] = "<script>&"
    arrays = traces()
    arrays["timeline_event_label"][:] = "<b>&"
    _, root = drawn(tmp_path / "run", figures=figures, arrays=arrays)
    assert "Wakes on <script>&" in "".join(root.itertext())


def test_close_rivals_have_labels_apart(tmp_path: Path):
    figures = summary()
    for entry in figures["energy"]["digitise_first"].values():
        entry["battery_days"] = 50.0
    _, root = drawn(tmp_path / "run", figures=figures)
    heights = sorted(
        float(text.get("y", "0"))
        for text in root.iter(f"{SVG}text")
        if re.match("catalogue|best digital|energy gated", "".join(text.itertext()).strip())
    )
    assert len(heights) == 3
    assert min(np.diff(heights)) >= 16


def test_a_minute_without_events_or_wakes(tmp_path: Path):
    arrays = {name: array[..., :0] if re.search("event|wakes_s", name) else array for name, array in traces().items()}
    text, _ = drawn(tmp_path / "run", arrays=arrays)
    assert "<title>" not in text.partition("</title>")[2]


@pytest.mark.parametrize("lack", ["timeline_integral_v", "first_stage.threshold_v"])
def test_what_the_picture_cannot_do_without_is_named(tmp_path: Path, lack: str):
    figures, arrays = summary(), traces()
    if lack in arrays:
        del arrays[lack]
    else:
        figures["first_stage"]["threshold_v"] = None
    run = write_run(tmp_path / "run", figures=figures, arrays=arrays)
    with pytest.raises(InputError, match=f"holds no {lack}"):
        write_picture(run, tmp_path / "picture.svg")
    assert not (tmp_path / "picture.svg").exists()

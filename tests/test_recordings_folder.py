"""Folders of recordings: label folders, tables, ESC-50's own layout, and bad input."""

import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lightsleeper.errors import InputError
from lightsleeper.recordings import read_folder


def write_tone(path: Path, duration_s: float = 0.2, rate_hz: int = 16_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(0.2 * np.arange(round(duration_s * rate_hz))), rate_hz)


def test_one_subfolder_per_label(tmp_path: Path) -> None:
    for file in ("dog/1.wav", "dog/2.flac", "cat/1.ogg", "cat/tom/2.WAV", ".hidden/3.wav", "notes/readme.txt"):
        if file.endswith("txt"):
            (tmp_path / file).parent.mkdir()
            (tmp_path / file).write_text("no sound")
        else:
            write_tone(tmp_path / file)
    recordings = read_folder(tmp_path)
    assert recordings.labels == ("cat", "dog")
    assert [r.file for r in recordings.recordings] == ["cat/1.ogg", "cat/tom/2.WAV", "dog/1.wav", "dog/2.flac"]
    assert [r.source for r in recordings.recordings] == ["cat/1", "cat/tom/2", "dog/1", "dog/2"]
    assert recordings.folds == ()
    assert recordings.name == tmp_path.name
    assert not recordings.synthetic
    assert recordings.skipped == ()


def test_index_with_folds_sources_and_intervals(tmp_path: Path) -> None:
    write_tone(tmp_path / "long.wav", duration_s=2.0)
    write_tone(tmp_path / "audio" / "other.wav")
    (tmp_path / "index.csv").write_text(
        "comment,file,label,fold,source,start_s,end_s\n"
        'first,long.wav,"knock, door",1,,0.5,0.75\n'
        "second,long.wav,bell,,,1.0,\n"
        "\n"
        "third,other.wav,bell,2,tape 7,,\n",
        encoding="utf-8-sig",
    )
    first, second, third = read_folder(tmp_path).recordings
    assert (first.label, first.fold, first.samples.size) == ("knock, door", 1, 4_000)
    assert (second.label, second.fold, second.samples.size) == ("bell", None, 16_000)
    assert first.source == second.source == "long"
    assert (third.source, third.fold, third.file) == ("tape 7", 2, "audio/other.wav")


def test_esc50_layout(tmp_path: Path) -> None:
    for name in ("1-100-A-0.wav", "1-100-B-0.wav", "2-200-A-39.wav"):
        write_tone(tmp_path / "audio" / name)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text(
        "filename,fold,target,category,esc10,src_file,take\n"
        "1-100-A-0.wav,1,0,dog,True,100,A\n"
        "1-100-B-0.wav,1,0,dog,True,100,B\n"
        "2-200-A-39.wav,2,39,glass_breaking,False,200,A\n"
    )
    recordings = read_folder(tmp_path)
    assert recordings.labels == ("dog", "glass_breaking")
    assert [r.source for r in recordings.recordings] == ["100", "100", "200"]
    assert recordings.folds == (1, 2)


def test_meta_table_beside_the_files(tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        write_tone(tmp_path / name)
    (tmp_path / "metadata.csv").write_text("file,label\na.wav,x\nb.wav,y\n")
    assert read_folder(tmp_path).labels == ("x", "y")
    (tmp_path / "meta2.csv").write_text("file,label\na.wav,x\nb.wav,z\n")
    with pytest.raises(InputError, match=r"several tables .*meta2\.csv, metadata\.csv"):
        read_folder(tmp_path)
    (tmp_path / "index.csv").write_text("file,label\na.wav,x\nb.wav,w\n")
    assert read_folder(tmp_path).labels == ("w", "x")


def test_rate_is_the_one_asked_for(tmp_path: Path) -> None:
    write_tone(tmp_path / "x" / "a.wav", rate_hz=44_100)
    write_tone(tmp_path / "y" / "a.wav", rate_hz=8_000)
    recordings = read_folder(tmp_path, rate_hz=16_000).recordings
    assert {r.rate_hz for r in recordings} == {16_000}
    assert [r.samples.size for r in recordings] == [3_200, 3_200]


def test_progress_counts_every_clip(tmp_path: Path) -> None:
    for number in range(3):
        write_tone(tmp_path / "x" / f"{number}.wav")
    seen: list[tuple[int, int]] = []
    read_folder(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("", "no column file and no column label"),
        ("path,class\na.wav,x\n", "no column file and no column label.*found path,class"),
        ("file,class\na.wav,x\n", "no column label"),
        ("file,label\n", "lists no recordings"),
        ("file,label\na.wav,x\ngone.wav,y\n", "gone.wav: no such file"),
        ("file,label\na.wav,\n", "row 2: label is empty"),
        ("file,label\n,x\n", "row 2: file is empty"),
        ("file,label,fold\na.wav,x,one\n", "row 2: fold is 'one'"),
        ("file,label,start_s\na.wav,x,1:30\n", "row 2: start_s is '1:30'"),
        ("file,label\na.wav,x\n", r"a single recording \(a.wav\)"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, table: str, words: str) -> None:
    write_tone(tmp_path / "a.wav")
    (tmp_path / "index.csv").write_text(table)
    with pytest.raises(InputError, match=words) as caught:
        read_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_bytes(b"file,label\n\xff\xfe\x00bad")
    with pytest.raises(InputError, match="not a CSV file in UTF-8"):
        read_folder(tmp_path)


def test_folder_that_is_missing_empty_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_folder(tmp_path / "gone")
    with pytest.raises(InputError, match="holds no recordings"):
        read_folder(tmp_path)
    write_tone(tmp_path / "a.wav")
    with pytest.raises(InputError, match="sub-folder per label"):
        read_folder(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_folder(tmp_path / "a.wav")


def test_bad_files_raise_or_are_skipped_with_their_reason(tmp_path: Path) -> None:
    write_tone(tmp_path / "x" / "a.wav")
    write_tone(tmp_path / "y" / "b.wav")
    (tmp_path / "x" / "bad.wav").write_text("no sound")
    soundfile.write(tmp_path / "y" / "quiet.wav", np.zeros(100), 16_000)
    with pytest.raises(InputError, match=r"x/bad\.wav: .*--skip-bad skips such files"):
        read_folder(tmp_path)
    recordings = read_folder(tmp_path, skip_bad=True)
    assert [r.file for r in recordings.recordings] == ["x/a.wav", "y/b.wav"]
    assert [line.split(":")[0] for line in recordings.skipped] == ["x/bad.wav", "y/quiet.wav"]
    assert "silence" in recordings.skipped[1]


def test_folder_with_bad_files_only_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for name in ("a.wav", "b.wav"):
        (tmp_path / "x" / name).write_text("no sound")
    with pytest.raises(InputError, match=r"none of its 2 recordings can be read; first: x/a\.wav"):
        read_folder(tmp_path, skip_bad=True)


@pytest.mark.data
def test_household_sounds_are_read_in_seconds(data_dir: Path) -> None:
    start_s = time.perf_counter()
    recordings = read_folder(data_dir / "household_sounds")
    assert time.perf_counter() - start_s < 15
    assert len(recordings.recordings) == 768
    assert len(recordings.labels) == 24
    assert recordings.folds == (1, 2, 3, 4)
    assert {r.samples.size for r in recordings.recordings} == {80_000}

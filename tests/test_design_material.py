"""Recordings of a design: split by source, freed of leaks, and refused in one line where they cannot serve."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from design_run import RATE_HZ, burst, write_clips
from lightsleeper.design import Silent, Spec
from lightsleeper.design.material import Material, check_label, gather, read_recordings
from lightsleeper.errors import InputError
from lightsleeper.recordings import Recording


def gathered(folder: Path, **asked: object) -> Material:
    return gather(Spec.model_validate({"wake": "glass", "recordings": str(folder)} | asked), Silent())


def with_table(folder: Path, rows: list[tuple[str, str, int | str, str]]) -> Path:
    """A folder whose index.csv says label, fold and source of each file."""
    folder.mkdir(exist_ok=True)
    for number, (file, *_) in enumerate(rows):
        soundfile.write(folder / file, burst(number), RATE_HZ)
    with (folder / "index.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("file", "label", "fold", "source"), *rows])
    return folder


def sources_of(recordings: tuple[Recording, ...]) -> set[str]:
    return {recording.source for recording in recordings}


@pytest.mark.parametrize(("clips", "folds"), [(3, 3), (4, 4), (9, 4)])
def test_folds_are_made_from_sources(clips: int, folds: int, tmp_path: Path):
    material = gathered(write_clips(tmp_path / "sounds", {"glass": clips, "dog": clips, "rain": clips}))
    parts = [*material.folds.values(), material.test]
    assert len(parts) == folds
    assert material.test_fold == max([*material.folds, material.test_fold])
    assert sum(map(len, parts)) == 3 * clips
    assert sum(len(sources_of(part)) for part in parts) == len(sources_of((*material.train, *material.test)))
    assert all({"glass", "dog"} <= {recording.label for recording in part} for part in parts)


def test_the_same_seed_gives_the_same_folds(tmp_path: Path):
    folder = write_clips(tmp_path / "sounds", {"glass": 8, "dog": 8})
    files = [[[r.file for r in gathered(folder, seed=seed).test]] for seed in (1, 1, 2)]
    assert files[0] == files[1] != files[2]


def test_folds_that_came_with_the_data_stand(tmp_path: Path):
    rows = [(f"{label}{fold}.wav", label, fold, f"{label}{fold}") for label in ("glass", "dog") for fold in (1, 2, 5)]
    folder = with_table(tmp_path / "sounds", rows)
    material = gathered(folder)
    assert (sorted(material.folds), material.test_fold) == ([1, 2], 5)
    assert {r.file for r in material.test} == {"glass5.wav", "dog5.wav"}
    chosen = gathered(folder, evaluation={"test_fold": 1})
    assert (sorted(chosen.folds), chosen.test_fold) == ([2, 5], 1)
    with pytest.raises(InputError, match=r"test_fold is 3; the recordings have the folds \[1, 2, 5\]"):
        gathered(folder, evaluation={"test_fold": 3})


def test_a_source_in_two_folds_is_moved_and_named(tmp_path: Path):
    rows = [(f"{label}{fold}.wav", label, fold, f"{label}{fold}") for label in ("glass", "dog") for fold in (1, 2, 3)]
    material = gathered(with_table(tmp_path / "sounds", [*rows, ("leak.wav", "glass", 3, "glass1")]))
    assert material.moved == ("leak.wav: moved from fold 3 to fold 1 of its source",)
    assert not sources_of(material.train) & sources_of(material.test)
    assert {r.source for r in material.folds[1]} == {"glass1", "dog1"}
    assert len(material.folds[1]) == 3


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_folds_are_refused(count: int, tmp_path: Path):
    rows = [(f"{label}{n}.wav", label, 1 + n % count, f"{label}{n}") for label in ("glass", "dog") for n in range(4)]
    with pytest.raises(InputError, match=f"come in {count} folds; needed are at least 3"):
        gathered(with_table(tmp_path / "sounds", rows))


def test_a_fold_without_the_wake_sound_is_refused(tmp_path: Path):
    rows = [(f"dog{fold}.wav", "dog", fold, f"d{fold}") for fold in (1, 2, 3)]
    rows += [(f"glass{n}.wav", "glass", 1 + n % 2, f"g{n}") for n in range(4)]
    with pytest.raises(InputError, match="fold 3 has no clip of glass"):
        gathered(with_table(tmp_path / "sounds", rows))


def test_two_sources_of_the_wake_sound_are_too_few(tmp_path: Path):
    rows = [(f"glass{n}.wav", "glass", "", f"g{n % 2}") for n in range(6)]
    rows += [(f"dog{n}.wav", "dog", "", f"d{n}") for n in range(6)]
    with pytest.raises(InputError, match="glass: has recordings of 2 sources; needed are at least 3"):
        gathered(with_table(tmp_path / "sounds", rows))


def test_the_wake_sound_alone_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="has no clip of another label"):
        gathered(write_clips(tmp_path / "sounds", {"glass": 6}))


def test_stereo_and_24_bit_files_are_taken(tmp_path: Path):
    folder = write_clips(tmp_path / "sounds", {"glass": 3, "dog": 3})
    stereo = np.stack([burst(1), 0.5 * burst(2)], axis=1)
    soundfile.write(folder / "glass" / "0.wav", stereo, RATE_HZ, subtype="PCM_24")
    soundfile.write(folder / "dog" / "0.flac", burst(3), 44_100, subtype="PCM_24")
    material = gathered(folder)
    clips = {r.file: r for r in (*material.train, *material.test)}
    assert len(clips) == 7
    np.testing.assert_allclose(clips["glass/0.wav"].samples, stereo.mean(axis=1), atol=1e-6)
    assert clips["dog/0.flac"].rate_hz == RATE_HZ
    assert clips["dog/0.flac"].duration_s == pytest.approx(RATE_HZ / 44_100, abs=1e-4)


def test_clips_come_at_the_rate_of_the_spec(tmp_path: Path):
    folder = write_clips(tmp_path / "sounds", {"glass": 3, "dog": 3})
    spec = Spec.model_validate({"recordings": str(folder), "scene": {"rate_hz": 8_000}})
    assert {r.rate_hz for r in read_recordings(spec, Silent()).recordings} == {8_000.0}


def test_an_unknown_label_is_answered_with_those_there_are(tmp_path: Path):
    folder = write_clips(tmp_path / "sounds", {"glass": 3, "dog": 3})
    with pytest.raises(
        InputError, match=r"no recording has the label glas; did you mean glass\? labels are dog, glass"
    ):
        gathered(folder, wake="glas")
    with pytest.raises(InputError, match="label zzz; labels are dog, glass"):
        check_label(gathered(folder).test, "zzz")


@pytest.mark.slow
@pytest.mark.data
def test_the_household_sounds_have_one_leaked_clip(data_dir: Path):
    spec = Spec(wake="glass_breaking", recordings=str(data_dir / "household_sounds"))
    material = gather(spec, Silent())
    assert len(material.moved) == 1
    parts = [*material.folds.values(), material.test]
    assert len(parts) == 4
    assert sum(map(len, parts)) == len(material.everything.recordings)
    owners = Counter(source for part in parts for source in sources_of(part))
    assert set(owners.values()) == {1}
    before = {r.file: r.fold for r in material.everything.recordings}
    after = {r.file: r.fold for part in parts for r in part}
    changed = [file for file, fold in after.items() if fold != before[file]]
    assert len(changed) == 1
    assert material.moved[0].startswith(f"{changed[0]}: moved from fold {before[changed[0]]} to fold ")

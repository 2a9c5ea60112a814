"""A folder of labelled recordings: one sub-folder per label, or a CSV table that names files and labels."""

import csv
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lightsleeper.errors import InputError
from lightsleeper.recordings.recording import Recording, read_recording

__all__ = ["RecordingSet", "read_folder"]

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg"})

# ESC-50 (K. J. Piczak, ACM Multimedia 2015) names its columns so; ours come first where both stand in one table.
COLUMN_NAMES = {
    "file": ("file", "filename"),
    "label": ("label", "category"),
    "source": ("source", "src_file"),
    "fold": ("fold",),
    "start_s": ("start_s",),
    "end_s": ("end_s",),
}


@dataclass(frozen=True)
class RecordingSet:
    """Recordings that belong together.

    Attributes:
        recordings: the clips.
        name: name of the folder, or of the synthetic set.
        synthetic: whether the sounds were computed and not recorded.
        skipped: files that were left out with `skip_bad`, each with its reason.
    """

    recordings: tuple[Recording, ...]
    name: str
    synthetic: bool
    skipped: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Sorted labels."""
        return tuple(sorted({recording.label for recording in self.recordings}))

    @property
    def folds(self) -> tuple[int, ...]:
        """Sorted folds that came with the data; empty where there are none."""
        return tuple(sorted({recording.fold for recording in self.recordings if recording.fold is not None}))


@dataclass(frozen=True)
class _Entry:
    """One clip to read."""

    path: Path
    file: str
    label: str
    source: str
    fold: int | None = None
    start_s: float | None = None
    end_s: float | None = None


def read_folder(
    path: str | os.PathLike[str],
    *,
    rate_hz: float = 16_000,
    skip_bad: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> RecordingSet:
    """Read every labelled clip of a folder at `rate_hz`.

    Where the folder holds `index.csv`, `meta*.csv` or `meta/*.csv` with the columns file and label, that table names
    the clips; it may also have fold, source, start_s, end_s, and ESC-50's own names (filename, category, src_file) are
    read too. Files are looked for in the folder and in its `audio` sub-folder. Without a table each sub-folder is a
    label. A clip without a stated source has its file (without suffix) as source, so clips of one file share it.

    `progress` is called with (clips done, clips in all). Raises `InputError` where the folder or its table cannot be
    used, holds fewer than two clips, or where a file is bad; with `skip_bad` bad files are listed in `skipped` instead.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the folder that holds the recordings")
    table = _find_table(folder)
    entries = _entries_of_subfolders(folder) if table is None else _entries_of_table(folder, table)
    recordings, skipped = _read_entries(entries, rate_hz, skip_bad, progress)
    if not recordings:
        raise InputError(f"{folder}: none of its {len(entries)} recordings can be read; first: {skipped[0]}")
    if len(recordings) == 1:
        raise InputError(f"{folder}: holds a single recording ({recordings[0].file}); add clips of each label")
    return RecordingSet(
        recordings=tuple(recordings), name=folder.resolve().name, synthetic=False, skipped=tuple(skipped)
    )


def _read_entries(
    entries: list[_Entry], rate_hz: float, skip_bad: bool, progress: Callable[[int, int], None] | None
) -> tuple[list[Recording], list[str]]:
    """Recordings that can be read, and one line for each that cannot."""
    recordings: list[Recording] = []
    skipped: list[str] = []
    for done, entry in enumerate(entries, start=1):
        try:
            recordings.append(
                read_recording(
                    entry.path,
                    rate_hz=rate_hz,
                    label=entry.label,
                    source=entry.source,
                    fold=entry.fold,
                    file=entry.file,
                    start_s=entry.start_s,
                    end_s=entry.end_s,
                )
            )
        except InputError as error:
            if not skip_bad:
                raise InputError(f"{error} (--skip-bad skips such files)") from error
            skipped.append(str(error))
        if progress is not None:
            progress(done, len(entries))
    return recordings, skipped


def _entries_of_subfolders(folder: Path) -> list[_Entry]:
    """Clips of `label/**/clip.wav`, in sorted order."""
    entries = []
    for path in sorted(folder.glob("*/**/*")):
        file = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in file.parts)
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file() and not hidden:
            entries.append(_Entry(path, file.as_posix(), file.parts[0], file.with_suffix("").as_posix()))
    if not entries:
        raise InputError(
            f"{folder}: holds no recordings; put WAV, FLAC or OGG files into one sub-folder per label "
            "(glass_breaking/1.wav) or add an index.csv with the columns file,label"
        )
    return entries


def _find_table(folder: Path) -> Path | None:
    """The table that labels the clips, or None where there is no CSV of that name."""
    index = folder / "index.csv"
    if index.is_file():
        return index
    tables = sorted({*folder.glob("meta*.csv"), *folder.glob("meta/*.csv")})
    usable = [table for table in tables if _missing_columns(_read_rows(table)[0]) == ()]
    if len(usable) > 1:
        names = ", ".join(table.relative_to(folder).as_posix() for table in usable)
        raise InputError(f"{folder}: several tables label its recordings ({names}); name the one to use index.csv")
    if usable:
        return usable[0]
    return tables[0] if tables else None


def _entries_of_table(folder: Path, table: Path) -> list[_Entry]:
    """Clips that the rows of a CSV table name, in the table's order."""
    header, rows = _read_rows(table)
    missing = _missing_columns(header)
    if missing:
        raise InputError(
            f"{table}: has no column {' and no column '.join(missing)}; needed are file,label "
            f"(optional fold,source,start_s,end_s), found {','.join(header) or 'nothing'}"
        )
    columns = {name: _column(header, names) for name, names in COLUMN_NAMES.items()}
    if not rows:
        raise InputError(f"{table}: lists no recordings; add one row for each clip")
    return [_entry_of_row(folder, f"{table}: row {number}", _cells(columns, row)) for number, row in rows]


def _read_rows(table: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and the numbered rows that are not empty."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream)
            header = [cell.strip() for cell in next(lines, [])]
            return header, [(number, row) for number, row in enumerate(lines, start=2) if any(map(str.strip, row))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: not a CSV file in UTF-8; export it again ({error})") from error


def _missing_columns(header: list[str]) -> tuple[str, ...]:
    return tuple(name for name in ("file", "label") if _column(header, COLUMN_NAMES[name]) is None)


def _column(header: list[str], names: Iterable[str]) -> int | None:
    """Position of the first of `names` that stands in the header."""
    return next((header.index(name) for name in names if name in header), None)


def _cells(columns: dict[str, int | None], row: list[str]) -> dict[str, str]:
    """Text of each known column; empty where the table or the row has none."""
    return {
        name: row[column].strip() if column is not None and column < len(row) else ""
        for name, column in columns.items()
    }


def _entry_of_row(folder: Path, place: str, cells: dict[str, str]) -> _Entry:
    for name in ("file", "label"):
        if not cells[name]:
            raise InputError(f"{place}: {name} is empty; fill it in or remove the row")
    file = cells["file"]
    in_folder, in_audio = folder / file, folder / "audio" / file
    found_in_audio = in_audio.is_file() and not in_folder.is_file()
    return _Entry(
        path=in_audio if found_in_audio else in_folder,
        file=f"audio/{file}" if found_in_audio else file,
        label=cells["label"],
        source=cells["source"] or PurePosixPath(file).with_suffix("").as_posix(),
        fold=_fold(place, cells["fold"]),
        start_s=_seconds(place, "start_s", cells["start_s"]),
        end_s=_seconds(place, "end_s", cells["end_s"]),
    )


def _fold(place: str, text: str) -> int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"{place}: fold is {text!r}; folds are whole numbers") from error


def _seconds(place: str, name: str, text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"{place}: {name} is {text!r}; it is a time in seconds") from error

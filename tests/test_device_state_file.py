"""The state file: broken off at every byte, held by one process, refused where it is another model's."""

import os
from pathlib import Path

import pytest

from lightsleeper.device import CheckpointStatus, StateFile
from lightsleeper.errors import InputError, LightsleeperError

VERSION = 7


def held(path: Path, *, version: int = VERSION, size: int = 40) -> StateFile:
    return StateFile(path, model_version=version, state_bytes=size)


def test_states_come_back_and_take_turns(tmp_path: Path):
    path = tmp_path / "net.state"
    with held(path) as file:
        assert file.loaded.status == CheckpointStatus.NONE
    size = path.stat().st_size
    for number in range(5):
        with held(path) as file:
            file.save(bytes([number]) * 40)
        with held(path) as file:
            assert file.loaded.status == CheckpointStatus.OK
            assert file.loaded.state == bytes([number]) * 40
            assert file.loaded.sequence == number + 1
    assert path.stat().st_size == size
    assert os.listdir(tmp_path) == ["net.state"]


class PowerFailureError(Exception):
    """The test's own."""


def test_broken_off_at_every_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Bytes of each write come one by one; after any of them nothing more is written."""
    path = tmp_path / "net.state"
    with held(path) as file:
        file.save(b"a" * 40)
        file.save(b"b" * 40)
    before = path.read_bytes()
    write = os.pwrite
    for allowed in range(64):
        path.write_bytes(before)
        left = [allowed]

        def torn(descriptor: int, data: memoryview, offset: int, left: list[int] = left) -> int:
            if left[0] == 0:
                raise PowerFailureError
            left[0] -= 1
            return write(descriptor, data[:1], offset)

        monkeypatch.setattr(os, "pwrite", torn)
        with held(path) as file, pytest.raises(PowerFailureError):
            file.save(b"c" * 40)
        monkeypatch.setattr(os, "pwrite", write)
        with held(path) as file:
            assert file.loaded.status in (CheckpointStatus.OK, CheckpointStatus.FALLBACK)
            # The last byte of the record may be that of the older record, which makes it whole.
            assert file.loaded.state == b"b" * 40 or (allowed == 63 and file.loaded.state == b"c" * 40)
            file.save(b"d" * 40)
        with held(path) as file:
            assert (file.loaded.status, file.loaded.state) == (CheckpointStatus.OK, b"d" * 40)


def test_the_record_follows_the_state_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[int | str] = []
    write = os.pwrite

    def seen(descriptor: int, data: memoryview, offset: int) -> int:
        calls.append(offset)
        return write(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", seen)
    monkeypatch.setattr(os, "fdatasync", lambda _: calls.append("sync"))
    with held(tmp_path / "net.state") as file:
        file.save(b"a" * 40)
        file.save(b"b" * 40)
    assert calls == [24, "sync", 0, "sync", 4096 + 24, "sync", 4096, "sync"]


def test_a_damaged_newest_gives_the_one_before(tmp_path: Path):
    path = tmp_path / "net.state"
    with held(path) as file:
        file.save(b"a" * 40)
        file.save(b"b" * 40)
    damaged = bytearray(path.read_bytes())
    damaged[4096 + 30] ^= 1
    path.write_bytes(damaged)
    with held(path) as file:
        assert (file.loaded.status, file.loaded.state) == (CheckpointStatus.FALLBACK, b"a" * 40)
    damaged[30] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="no state in it is whole; restore the file, or remove it"):
        held(path)


def test_other_models_and_files_are_refused_and_stay(tmp_path: Path):
    path = tmp_path / "net.state"
    with held(path) as file:
        file.save(b"a" * 40)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"holds no state of this model \(version 00000008\)"):
        held(path, version=8)
    with pytest.raises(InputError, match="holds no state of this model"):
        held(path, size=5000)
    assert path.read_bytes() == before
    path.write_text("a letter")
    with pytest.raises(InputError, match="holds no state of this model"):
        held(path)
    assert path.read_text() == "a letter"


def test_one_process_at_a_time(tmp_path: Path):
    path = tmp_path / "net.state"
    with held(path), pytest.raises(InputError, match="another process trains with this state"):
        held(path)
    held(path).close()


def test_folders_that_are_not_there_and_full_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputError, match="cannot be written"):
        held(tmp_path / "no-such" / "net.state")
    with pytest.raises(InputError, match="cannot be written"):
        held(tmp_path)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with held(tmp_path / "net.state") as file:
        file.save(b"a" * 40)
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(LightsleeperError, match=r"No space left on device.*the one before is kept"):
            file.save(b"b" * 40)
    with held(tmp_path / "net.state") as file:
        assert file.loaded.state == b"a" * 40

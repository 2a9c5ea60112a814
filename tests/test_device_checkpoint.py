"""Checkpoints: the C source against its readable reference, and power failures at every write and erase."""

import ctypes
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_build import C_OF_TESTS, SANITIZED, STRICT, compile_c, sanitizing
from lightsleeper.device import CheckpointStatus, SlotLayout, load_checkpoint, slot_parts, write_checkpoint_c
from lightsleeper.errors import InputError

VERSION = 0x12345678
FAILED, BAD_LAYOUT = 5, 6
ONCE = "256 8 50 5 0"


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("firmware")
    write_checkpoint_c(folder)
    return folder


def build_power_fail(out: Path, sources: Path, *options: str, compiler: str = "gcc") -> Path:
    tests = (C_OF_TESTS / "power_fail.c", C_OF_TESTS / "tiny_model.c")
    include = ("-I", sources, "-I", C_OF_TESTS)
    return compile_c(out, *STRICT, *options, *include, *tests, sources / "ls_checkpoint.c", compiler=compiler)


def power_fail(program: Path, *, page: int, unit: int, steps: int = 50, every: int, twice: bool = False) -> list[int]:
    """Counts: operations, failures, then loads by status OK, FALLBACK, NONE, CORRUPT."""
    arguments = [str(n) for n in (page, unit, steps, every, int(twice))]
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [int(word) for word in done.stdout.split()]


@pytest.fixture(scope="session")
def program(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_power_fail(tmp_path_factory.mktemp("power_fail") / "program", sources)


@pytest.mark.parametrize(
    ("page", "unit", "every"),
    [(256, 8, 5), (256, 8, 7), (256, 4, 25), (2048, 4, 5), (128, 1, 25), (512, 32, 1), (64, 2, 10)],
)
def test_power_fails_at_every_write_and_erase(program: Path, page: int, unit: int, every: int):
    """The program checks each run: state at most one checkpoint old, final weights equal to the bit."""
    operations, failures, *_ = counts = power_fail(program, page=page, unit=unit, every=every)
    state_bytes = 3 * 43 * 4 + 4
    layout = SlotLayout.for_state(state_bytes, page_bytes=page, write_bytes=unit)
    units = -(-state_bytes // unit) + -(-24 // unit)
    assert operations == 50 // every * (units + layout.slot_pages)
    erases = 50 // every * layout.slot_pages
    assert failures == 5 * operations + 24 * erases
    assert all(counts[2:])


@pytest.mark.slow
def test_power_fails_again_at_every_operation_after_each_restart(program: Path):
    operations, failures, *_ = power_fail(program, page=256, unit=8, every=25, twice=True)
    assert operations == 142
    assert failures > operations**2


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_power_failures_under_sanitizers(tmp_path: Path, sources: Path, compiler: str):
    sanitized = build_power_fail(tmp_path / "program", sources, *SANITIZED, compiler=sanitizing(compiler))
    power_fail(sanitized, page=256, unit=16, every=10)


@pytest.mark.parametrize(
    ("original", "broken", "arguments"),
    [
        (
            "record->sequence;\n    checkpoint->next_slot = 1u - newest",
            "record->sequence;\n    checkpoint->next_slot = newest",
            "256 8 50 25 1",
        ),
        ("checkpoint->next_slot = 1u - checkpoint->next_slot;", "", ONCE),
        ("record.sequence = checkpoint->sequence + 1u;", "record.sequence = 1u;", ONCE),
        ("(uint32_t)(sizeof record - sizeof record.record_crc)) == record.record_crc", "0u) == 0u", ONCE),
        ("flash->erase_page(flash->context, page) != 0", "page == UINT32_MAX", ONCE),
    ],
)
def test_the_simulated_flash_sees_what_is_broken(
    tmp_path: Path, sources: Path, original: str, broken: str, arguments: str
):
    text = (sources / "ls_checkpoint.c").read_text()
    assert text.count(original) == 1
    (tmp_path / "ls_checkpoint.c").write_text(text.replace(original, broken))
    (tmp_path / "ls_checkpoint.h").write_bytes((sources / "ls_checkpoint.h").read_bytes())
    mutant = build_power_fail(tmp_path / "program", tmp_path)
    done = subprocess.run([mutant, *arguments.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout


Erase = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32)
Write = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint8), ctypes.c_uint32
)


class CFlash(ctypes.Structure):
    _fields_ = [
        ("base", ctypes.c_void_p),
        ("page_bytes", ctypes.c_uint32),
        ("write_bytes", ctypes.c_uint32),
        ("slot_pages", ctypes.c_uint32),
        ("erase_page", Erase),
        ("write", Write),
        ("context", ctypes.c_void_p),
    ]


class CCheckpoint(ctypes.Structure):
    _fields_ = [
        ("flash", ctypes.c_void_p),
        ("model_version", ctypes.c_uint32),
        ("sequence", ctypes.c_uint32),
        ("next_slot", ctypes.c_uint32),
    ]


class Device:
    """The C checkpoint over an area in memory."""

    def __init__(self, library: ctypes.CDLL, page_bytes: int, write_bytes: int, slot_pages: int, fails: bool = False):
        self.area = bytearray(b"\xff" * max(1, 2 * page_bytes * slot_pages))
        self._held = (ctypes.c_uint8 * len(self.area)).from_buffer(self.area)

        def erase(_: int, offset: int) -> int:
            self.area[offset : offset + page_bytes] = b"\xff" * page_bytes
            return 0

        def write(_: int, offset: int, data: "ctypes._Pointer[ctypes.c_uint8]", length: int) -> int:
            if not fails:
                self.area[offset : offset + length] = bytes(data[:length])
            return 0

        self.flash = CFlash(
            ctypes.addressof(self._held), page_bytes, write_bytes, slot_pages, Erase(erase), Write(write), None
        )
        self.checkpoint = CCheckpoint()
        self.library = library

    def load(self, version: int, length: int) -> tuple[int, bytes]:
        state = ctypes.create_string_buffer(b"\xa5" * length, length)
        status = self.library.ls_checkpoint_load(
            ctypes.byref(self.checkpoint), ctypes.byref(self.flash), version, state, length
        )
        return status, state.raw

    def save(self, state: bytes) -> int:
        status: int = self.library.ls_checkpoint_save(ctypes.byref(self.checkpoint), state, len(state))
        return status


@pytest.fixture(scope="session")
def library(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    out = tmp_path_factory.mktemp("library") / "checkpoint.so"
    loaded = ctypes.CDLL(str(compile_c(out, *STRICT, "-shared", "-fPIC", sources / "ls_checkpoint.c")))
    loaded.ls_crc32.restype = ctypes.c_uint32
    loaded.ls_checkpoint_load.argtypes = [*[ctypes.c_void_p] * 2, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32]
    loaded.ls_checkpoint_save.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32]
    return loaded


@given(
    states=st.lists(st.binary(min_size=90, max_size=90), min_size=1, max_size=4),
    geometry=st.sampled_from([(64, 1), (128, 32), (256, 8), (512, 16), (1024, 4)]),
    damage=st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), max_size=3),
    first=st.sampled_from([0, 1, 2**31 - 2, 2**32 - 2, 2**32 - 1]),
)
def test_c_and_reference_agree_on_every_area(library, states, geometry, damage, first):
    page_bytes, write_bytes = geometry
    layout = SlotLayout.for_state(90, page_bytes=page_bytes, write_bytes=write_bytes)
    device = Device(library, page_bytes, write_bytes, layout.slot_pages)
    area = bytearray(device.area)
    assert device.load(VERSION, 90) == (CheckpointStatus.NONE, b"\xa5" * 90)
    device.checkpoint.sequence = first
    for number, state in enumerate(states):
        assert device.save(state) == CheckpointStatus.OK
        start = number % 2 * layout.slot_bytes
        area[start : start + layout.slot_bytes] = b"\xff" * layout.slot_bytes
        for offset, part in slot_parts(state, layout=layout, model_version=VERSION, sequence=first + number + 1):
            area[start + offset : start + offset + len(part)] = part
    assert device.area == area
    for place, flip in damage:
        device.area[place % len(area)] ^= flip
    for version, length in ((VERSION, 90), (VERSION + 1, 90), (VERSION, 89)):
        found = load_checkpoint(bytes(device.area), layout=layout, model_version=version, state_bytes=length)
        status, state = device.load(version, length)
        assert status == found.status
        assert state == (b"\xa5" * length if found.state is None else found.state)
        assert (device.checkpoint.sequence, device.checkpoint.next_slot) == (found.sequence, found.next_slot)
        if not damage and version == VERSION and length == 90:
            assert (status, state) == (CheckpointStatus.OK, states[-1])


@given(st.binary(max_size=600), st.binary(max_size=600))
def test_crc_is_that_of_zlib_also_in_two_parts(library, first, second):
    import zlib  # noqa: PLC0415

    crc = library.ls_crc32(library.ls_crc32(0, first, len(first)), second, len(second))
    assert crc == zlib.crc32(first + second)


def test_a_damaged_newest_gives_the_older_and_says_so(library):
    device = Device(library, 256, 4, 1)
    device.load(VERSION, 8)
    for state in (b"older...", b"newest.."):
        assert device.save(state) == 0
    assert device.load(VERSION, 8) == (CheckpointStatus.OK, b"newest..")
    device.area[256 + 24] ^= 1
    assert device.load(VERSION, 8) == (CheckpointStatus.FALLBACK, b"older...")
    assert device.save(b"again...") == 0
    assert device.load(VERSION, 8) == (CheckpointStatus.OK, b"again...")


def test_another_model_is_refused_and_lost_last(library):
    device = Device(library, 256, 4, 1)
    device.load(VERSION, 8)
    device.save(b"model 1a")
    device.save(b"model 1b")
    assert device.load(VERSION + 1, 8) == (CheckpointStatus.WRONG_MODEL, b"\xa5" * 8)
    device.save(b"model 2a")
    assert device.load(VERSION + 1, 8) == (CheckpointStatus.OK, b"model 2a")
    device.area[24] ^= 1
    assert device.load(VERSION, 8) == (CheckpointStatus.FALLBACK, b"model 1b")


def test_flash_that_does_not_take_a_write_is_seen_and_costs_nothing(library):
    device = Device(library, 256, 4, 1)
    device.load(VERSION, 8)
    device.save(b"kept....")
    worn = Device(library, 256, 4, 1, fails=True)
    worn.area[:] = device.area
    worn.load(VERSION, 8)
    assert worn.save(b"lost....") == FAILED
    assert worn.load(VERSION, 8) == (CheckpointStatus.OK, b"kept....")


@pytest.mark.parametrize(
    ("page", "unit", "pages", "words"),
    [
        (256, 0, 1, "write_bytes is 0: give a power of two"),
        (256, 3, 1, "write_bytes is 3: give a power of two"),
        (256, 64, 1, "write_bytes is 64: give a power of two from 1 to 32"),
        (0, 1, 1, "page_bytes is 0: give a multiple of 256"),
        (384, 8, 1, "page_bytes is 384: give a multiple of 256"),
        (8, 16, 4, "at least write_bytes"),
        (256, 8, 0, "slot_pages is 0: give at least 1"),
        (16, 4, 1, "slot_pages is 1: give at least 2"),
    ],
)
def test_c_and_reference_refuse_the_same_layouts(library, page, unit, pages, words):
    assert Device(library, page, unit, pages).load(VERSION, 0)[0] == BAD_LAYOUT
    with pytest.raises(InputError, match=re.escape(words)):
        SlotLayout(page_bytes=page, write_bytes=unit, slot_pages=pages)


def test_a_state_too_large_is_refused_by_how_much(library):
    layout = SlotLayout(page_bytes=256, write_bytes=8, slot_pages=1)
    assert layout.capacity_bytes == 232
    device = Device(library, 256, 8, 1)
    assert device.load(VERSION, 233)[0] == BAD_LAYOUT
    assert device.load(VERSION, 232)[0] == CheckpointStatus.NONE
    assert device.save(b"x" * 233) == BAD_LAYOUT
    with pytest.raises(InputError, match="233 bytes does not fit a slot of 232: 1 bytes too many"):
        slot_parts(b"x" * 233, layout=layout, model_version=VERSION, sequence=1)
    with pytest.raises(InputError, match="two slots take 512"):
        load_checkpoint(b"\xff" * 511, layout=layout, model_version=VERSION, state_bytes=8)


def test_saving_before_loading_is_refused(library):
    device = Device(library, 256, 8, 1)
    assert device.save(b"x" * 8) == BAD_LAYOUT


@given(st.integers(0, 5000), st.sampled_from([(64, 1), (128, 32), (256, 8), (2048, 16)]))
def test_smallest_layout(state_bytes, geometry):
    page_bytes, write_bytes = geometry
    layout = SlotLayout.for_state(state_bytes, page_bytes=page_bytes, write_bytes=write_bytes)
    assert layout.capacity_bytes >= state_bytes
    if layout.slot_pages > 1 and state_bytes > 0:
        assert layout.capacity_bytes - page_bytes < state_bytes


def test_stack_is_bounded_and_no_heap_is_used(tmp_path: Path, sources: Path):
    out = compile_c(tmp_path / "checkpoint.o", *STRICT, "-fstack-usage", "-c", sources / "ls_checkpoint.c")
    usage = [line.split("\t") for line in (tmp_path / "checkpoint.su").read_text().splitlines()]
    assert usage
    assert all(kind == "static" for _, _, kind in usage)
    assert sum(int(size) for _, size, _ in usage) <= 512
    undefined = subprocess.run(["nm", "-u", out], capture_output=True, text=True, check=True).stdout
    names = set(re.findall(r"U (\w+)", undefined)) - {"_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
    assert names <= {"memcpy", "memset", "memcmp"}

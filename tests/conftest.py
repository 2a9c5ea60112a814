"""Fixtures shared by all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from lightsleeper.errors import MissingToolError

# On a busy machine any example may take seconds once.
settings.register_profile("lightsleeper", deadline=None)
settings.load_profile("lightsleeper")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real recordings; skips where LIGHTSLEEPER_DATA does not name one."""
    value = os.environ.get("LIGHTSLEEPER_DATA", "")
    if not value or not Path(value).is_dir():
        pytest.skip("needs the real recordings: set LIGHTSLEEPER_DATA to their folder")
    return Path(value)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one test make the tiny run first and the others that share it come last, so that no worker waits for it."""
    sharing = [item for item in items if "tiny" in getattr(item, "fixturenames", ())]
    shared = set(sharing)
    others = [item for item in items if item not in shared]
    items[:] = [*sharing[:1], *others, *sharing[1:]]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    yield from _skipping_missing_tools()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    yield from _skipping_missing_tools()


def _skipping_missing_tools() -> Iterator[None]:
    """Where a compiler or simulator is not installed the test is skipped, but in CI it fails."""
    try:
        yield
    except MissingToolError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))

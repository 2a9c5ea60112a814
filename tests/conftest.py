"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real recordings; skips where LIGHTSLEEPER_DATA does not name one."""
    value = os.environ.get("LIGHTSLEEPER_DATA", "")
    if not value or not Path(value).is_dir():
        pytest.skip("needs the real recordings: set LIGHTSLEEPER_DATA to their folder")
    return Path(value)

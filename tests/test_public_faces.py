"""Public faces and arrows: what each package offers, and that no package imports one above or beside it."""

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

import lightsleeper

ROOT = Path(lightsleeper.__file__).parent
BOTTOM = {"recordings", "circuits", "averaging"}
MIDDLE = {"detection", "energy", "learning", "device"}
MAY_IMPORT: dict[str, set[str]] = (
    {name: set() for name in BOTTOM}
    | dict.fromkeys(MIDDLE, BOTTOM)
    | dict.fromkeys(("report", "design"), BOTTOM | MIDDLE)
    | {"benchmarks": BOTTOM | MIDDLE | {"report"}}
    | {"cli": BOTTOM | MIDDLE | {"report", "design", "benchmarks"}}
)
"""DESIGN, "The house"; `errors` may be imported by all."""
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))


def _style(name: str) -> tuple[int, str]:
    """Ruff's RUF022 order: CONSTANTS, then Classes, then functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def _imported(path: Path) -> set[str]:
    """Rooms of the house that a module imports, wherever in the file, in absolute or relative form."""
    module = ".".join(("lightsleeper", *path.relative_to(ROOT).parent.parts))
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), module)
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("lightsleeper.")}


def _room(path: Path) -> str:
    """The package a module lies in, or its own name at the top of the house."""
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def test_every_folder_with_modules_is_a_package_of_the_house() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/*.py")}
    assert folders == set(PACKAGES)
    assert folders <= set(MAY_IMPORT)
    assert folders >= BOTTOM


@pytest.mark.parametrize("package", PACKAGES)
def test_public_face_is_importable_documented_and_sorted(package: str) -> None:
    face = importlib.import_module(f"lightsleeper.{package}")
    assert face.__doc__
    for name in face.__all__:
        assert hasattr(face, name), name
    assert list(face.__all__) == sorted(face.__all__, key=_style)
    assert len(set(face.__all__)) == len(face.__all__)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_arrows_go_down_only(path: Path) -> None:
    room = _room(path)
    allowed = MAY_IMPORT.get(room, set()) | {room, "errors"}
    strays = _imported(path) - allowed
    if room == "__init__":
        strays -= {"__version__"}
    assert not strays, f"{path.relative_to(ROOT)} imports {', '.join(sorted(strays))}"


def test_the_walls_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader of imports itself: nested, aliased, relative and lazy imports all count."""
    monkeypatch.setattr("test_public_faces.ROOT", tmp_path)
    module = tmp_path / "circuits" / "block.py"
    module.parent.mkdir()
    module.write_text(
        "import lightsleeper.design.spec as s\n"
        "from lightsleeper import report\n"
        "from ..energy import parts\n"
        "from . import device as own\n"
        "def late():\n    from lightsleeper.learning.windows import Windows\n"
        "import numpy\n",
        encoding="utf-8",
    )
    assert _imported(module) == {"design", "report", "energy", "circuits", "learning"}
    assert _room(module) == "circuits"


def test_reference_of_the_circuits_is_offered_nowhere() -> None:
    users = [path for path in ROOT.rglob("*.py") if "circuits.reference" in path.read_text(encoding="utf-8")]
    assert users == []

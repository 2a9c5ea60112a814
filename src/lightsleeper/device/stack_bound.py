"""A bound of the stack from the compiler's own call graph."""

import re
from pathlib import Path

from lightsleeper.errors import LightsleeperError

__all__ = ["stack_bound"]

_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "([^"]*)"')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')
_BYTES = re.compile(r"(\d+) bytes \((static|dynamic[^)]*)\)")


def stack_bound(graph: Path, function: str) -> tuple[int, list[str]]:
    """Bytes of stack that `function` and what it calls take at most, and the functions outside of the file.

    Args:
        graph: what gcc writes with -fcallgraph-info=su.
        function: name in C.

    Raises:
        LightsleeperError: there is recursion, or a frame whose size the compiler does not know.
    """
    text = graph.read_text(encoding="utf-8")
    sizes: dict[str, int | None] = {}
    for title, label in _NODE.findall(text):
        found = _BYTES.search(label)
        if found and found[2] != "static":
            raise LightsleeperError(f"{title}: its stack has no fixed size")
        sizes[title] = int(found[1]) if found else None
    calls: dict[str, list[str]] = {}
    for source, target in _EDGE.findall(text):
        calls.setdefault(source, []).append(target)
    outside: set[str] = set()

    def deepest(node: str, path: tuple[str, ...]) -> int:
        if node in path:
            raise LightsleeperError(f"{node} calls itself: the stack has no bound")
        own = sizes.get(node)
        if own is None:
            outside.add(node)
            return 0
        return own + max((deepest(called, (*path, node)) for called in calls.get(node, ())), default=0)

    return deepest(function, ()), sorted(outside)

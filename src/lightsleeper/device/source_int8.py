"""Write a quantized network down as C99: inference alone, in integers."""

from dataclasses import dataclass
from importlib.metadata import version as release_of
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsleeper.device.layers import Conv
from lightsleeper.device.program import Buffer, Program, inference_program, integer_scratch
from lightsleeper.device.quantization import QuantizedLayer, QuantizedNetwork
from lightsleeper.device.source import environment
from lightsleeper.device.source_layers import layer_title, shape_context
from lightsleeper.device.state import FIELD_BYTES, c_float
from lightsleeper.errors import InputError

__all__ = ["Int8Source", "emit_int8"]

_LINE = 20


@dataclass(frozen=True, eq=False, kw_only=True)
class Int8Source:
    """Generated C.

    Attributes:
        name: prefix of all its names.
        header, code: texts of ``name.h`` and ``name.c``.
        quantized: what they were made from.
        arena_bytes: working memory, static.
    """

    name: str
    header: str
    code: str
    quantized: QuantizedNetwork
    arena_bytes: int

    def write(self, folder: Path) -> list[str]:
        """Write both files into a folder that is there, and return the name of what is to be compiled."""
        (folder / f"{self.name}.h").write_text(self.header, encoding="ascii")
        (folder / f"{self.name}.c").write_text(self.code, encoding="ascii")
        return [f"{self.name}.c"]


def emit_int8(quantized: QuantizedNetwork, *, name: str) -> Int8Source:
    """Write C99 for a quantized network.

    Args:
        quantized: of :func:`lightsleeper.device.quantize`.
        name: prefix of all generated names, a C name in small letters.

    Raises:
        InputError: the name is none.
    """
    if not (name.isascii() and name.isidentifier() and name == name.lower()):
        raise InputError(f"{name!r} is no C name in small letters: give one such as keyword_net")
    program = inference_program(quantized.network, packing=4)
    network = quantized.network
    first, last = quantized.layers[0].given, quantized.layers[-1].made
    context: dict[str, Any] = {
        "name": name,
        "NAME": name.upper(),
        "release": release_of("lightsleeper"),
        "titles": [layer_title(layer) for layer in network.layers],
        "inputs": network.inputs,
        "outputs": network.outputs,
        "words": program.arena,
        "constant_bytes": quantized.constant_bytes,
        "layers": [_layer(q, index) for index, q in enumerate(quantized.layers)],
        "calls": _calls(program, name),
        "sample": _bytes(program.operations[0].x, name),
        "result": _bytes(program.operations[-1].y, name),
        "given_over_step": c_float(float(np.float32(1.0 / first.step))),
        "given_zero": first.zero,
        "made_step": c_float(float(np.float32(last.step))),
        "made_zero": last.zero,
    }
    templates = environment()
    return Int8Source(
        name=name,
        header=templates.get_template("int8.h.jinja").render(context),
        code=templates.get_template("int8.c.jinja").render(context),
        quantized=quantized,
        arena_bytes=FIELD_BYTES * program.arena,
    )


def _calls(program: Program, name: str) -> list[tuple[int, list[str]]]:
    calls = []
    for op in program.operations:
        work = [] if op.scratch is None else [f"{name}_arena + {op.scratch.offset}"]
        calls.append((op.layer, [_bytes(op.x, name), _bytes(op.y, name), *work]))
    return calls


def _bytes(buffer: Buffer | None, name: str) -> str:
    assert buffer is not None
    return f"(int8_t *)({name}_arena + {buffer.offset})"


def _layer(q: QuantizedLayer, index: int) -> dict[str, Any]:
    layer = q.layer
    bias = q.bias.astype(np.int64)
    direct = bool(q.weight.size) and not (isinstance(layer, Conv) and not layer.pointwise)
    if direct:
        # Without padding the zero point of the input is a part of the bias.
        bias = bias - q.given.zero * q.weight.reshape(len(bias), -1).astype(np.int64).sum(1)
    return shape_context(layer) | {
        "index": index,
        "title": layer_title(layer),
        "inputs": layer.inputs,
        "outputs": layer.outputs,
        "work": integer_scratch(layer),
        "weight": _numbers(q.weight.reshape(-1)),
        "weight_count": q.weight.size,
        "bias": _numbers(bias),
        "multiplier": _numbers(q.multiplier),
        "shift": _numbers(q.shift),
        "channels": q.bias.size,
        "given_zero": q.given.zero,
        "made_zero": q.made.zero,
        "lowest": q.lowest,
    }


def _numbers(values: NDArray[Any]) -> str:
    texts = [str(int(v)) for v in values]
    return ",\n".join("    " + ", ".join(texts[i : i + _LINE]) for i in range(0, len(texts), _LINE))

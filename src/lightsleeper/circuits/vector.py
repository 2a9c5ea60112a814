"""Eight float32 side by side as one value of the compiled loops: a numba type that is an LLVM vector.

A loop over columns that is left to LLVM's vectoriser runs 32 columns at a time and the rest one by one, so that eight
or twenty-four columns cost as much as sixty-four. A loop over these takes eight, always, and what a function passes on
stays in a register. The arithmetic and its rounding are those of float32; `tanh` and `tracked` of `simd` take both.
"""

# ruff: noqa: ARG001 -- numba gives names and shapes of these functions
# mypy: disable-error-code="no-untyped-call, untyped-decorator"
import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from lightsleeper.circuits.simd import BLOCK, FASTMATH, Float32

__all__ = ["above_zero", "fused", "load", "splat", "store"]

_FLAGS = tuple(FASTMATH)
_VECTOR = ir.VectorType(ir.FloatType(), BLOCK)


class _Float8(types.Type):
    def __init__(self) -> None:
        super().__init__(name="float8")


float8 = _Float8()


@register_model(_Float8)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Any) -> None:
        super().__init__(manager, fe_type, _VECTOR)


def _splat(builder: Any, value: Any) -> Any:
    if value.type == _VECTOR:
        return value
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), None)
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), zeros)


def _chosen(comparison: str) -> Callable[..., Any]:
    def build(builder: Any, a: Any, b: Any) -> Any:
        return builder.select(builder.fcmp_ordered(comparison, a, b, flags=_FLAGS), a, b)

    return build


def _define(function: Any, build: Callable[..., Any]) -> None:
    """`function` of two vectors, or of a vector and a number."""
    pairs = [(float8, float8), (float8, types.float32), (types.float32, float8)]

    class _Cases(ConcreteTemplate):
        cases: ClassVar = [signature(float8, *pair) for pair in pairs]

    def lower(_context: Any, builder: Any, _signature: Any, arguments: Sequence[Any]) -> Any:
        return build(builder, *(_splat(builder, value) for value in arguments))

    infer_global(function)(_Cases)
    for pair in pairs:
        lower_builtin(function, *pair)(lower)


_define(operator.add, lambda builder, a, b: builder.fadd(a, b, flags=_FLAGS))
_define(operator.sub, lambda builder, a, b: builder.fsub(a, b, flags=_FLAGS))
_define(operator.mul, lambda builder, a, b: builder.fmul(a, b, flags=_FLAGS))
_define(operator.truediv, lambda builder, a, b: builder.fdiv(a, b, flags=_FLAGS))
_define(min, _chosen("<"))
_define(max, _chosen(">"))


def _call(builder: Any, name: str, arguments: Sequence[Any]) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * len(arguments))
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{BLOCK}f32")
    return builder.call(function, arguments)


def _define_unary(function: Any, build: Callable[..., Any]) -> None:
    class _Case(ConcreteTemplate):
        cases: ClassVar = [signature(float8, float8)]

    infer_global(function)(_Case)
    lower_builtin(function, float8)(lambda _context, builder, _signature, arguments: build(builder, *arguments))


_define_unary(abs, lambda builder, a: _call(builder, "fabs", [a]))
_define_unary(operator.neg, lambda builder, a: builder.fneg(a, flags=_FLAGS))


def _place(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = cgutils.create_struct_proxy(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@intrinsic
def _load(_typing_context, array, index):  # type: ignore[no-untyped-def]
    def lower(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        return builder.load(_place(context, builder, signature.args[0], *arguments), align=4)

    return float8(array, types.intp), lower


@intrinsic
def _store(_typing_context, array, index, value):  # type: ignore[no-untyped-def]
    def lower(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> Any:
        builder.store(arguments[2], _place(context, builder, signature.args[0], *arguments[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, float8), lower


@intrinsic
def _splatted(_typing_context, value):  # type: ignore[no-untyped-def]
    def lower(_context: Any, builder: Any, _signature: Any, arguments: Sequence[Any]) -> Any:
        return _splat(builder, arguments[0])

    return float8(types.float32), lower


@intrinsic
def _above_zero(_typing_context, a):  # type: ignore[no-untyped-def]
    def lower(_context: Any, builder: Any, _signature: Any, arguments: Sequence[Any]) -> Any:
        above = builder.fcmp_ordered(">", arguments[0], ir.Constant(_VECTOR, [0.0] * BLOCK), flags=_FLAGS)
        return builder.uitofp(above, _VECTOR)

    return float8(float8), lower


@intrinsic
def _fused(_typing_context, a, b, c):  # type: ignore[no-untyped-def]
    def lower(_context: Any, builder: Any, _signature: Any, arguments: Sequence[Any]) -> Any:
        return _call(builder, "fmuladd", arguments)

    return float8(float8, float8, float8), lower


load: Callable[[Float32, int], Any] = _load  # type: ignore[assignment]
"""Eight numbers of a flat float32 array from an index on; nothing checks that they lie in it."""
store: Callable[[Float32, int, Any], None] = _store  # type: ignore[assignment]
"""Write eight numbers into a flat float32 array from an index on, as unchecked."""
splat: Callable[[np.float32], Any] = _splatted  # type: ignore[assignment]
"""A number eight times."""
above_zero: Callable[[Any], Any] = _above_zero  # type: ignore[assignment]
"""1 where a number is above zero, and else 0."""
fused: Callable[[Any, Any, Any], Any] = _fused  # type: ignore[assignment]
"""a b + c rounded once; a plain sum of two products would leave to LLVM which of them is rounded by itself, and its
choice depends on the code around."""

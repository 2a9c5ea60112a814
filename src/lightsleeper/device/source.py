"""Write a plan down as C99: one header and one source file."""

import zlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version as release_of
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from lightsleeper.averaging import settle_rule
from lightsleeper.averaging.settle import DRIFT_EVERY
from lightsleeper.device.layers import Array, Gru
from lightsleeper.device.plan import Plan
from lightsleeper.device.program import Buffer, Operation
from lightsleeper.device.source_layers import Layout, layer_context, layer_title
from lightsleeper.device.state import c_float
from lightsleeper.errors import InputError

__all__ = ["Source", "c_numbers", "emit", "environment"]

_LINE = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """Generated C.

    Attributes:
        name: prefix of all its names.
        header, code: texts of ``name.h`` and ``name.c``.
        plan: what they were made from.
        version: of network and rule; a state of another one does not fit.
        weights: (n,) trained weights at the start, in the order of the state's.
    """

    name: str
    header: str
    code: str
    plan: Plan
    version: int
    weights: Array

    def write(self, folder: Path) -> list[str]:
        """Write both files into a folder that is there, and return the names of what is to be compiled.

        Where the anchor lies in the caller's flash, a third file stands in for it with memory: for trials.
        """
        (folder / f"{self.name}.h").write_text(self.header, encoding="ascii")
        (folder / f"{self.name}.c").write_text(self.code, encoding="ascii")
        if self.plan.rule.anchor == "memory":
            return [f"{self.name}.c"]
        stand_in = environment().get_template("flash_stand_in.c.jinja").render(name=self.name, NAME=self.name.upper())
        (folder / f"{self.name}_flash.c").write_text(stand_in, encoding="ascii")
        return [f"{self.name}.c", f"{self.name}_flash.c"]


def emit(plan: Plan, *, name: str) -> Source:
    """Write C99 for a plan.

    Args:
        plan: what and how.
        name: prefix of all generated names, a C name in small letters.

    Raises:
        InputError: the name is none.
    """
    if not (name.isascii() and name.isidentifier() and name == name.lower()):
        raise InputError(f"{name!r} is no C name in small letters: give one such as keyword_net")
    layout = Layout(plan, name)
    context = _context(plan, name, layout)
    templates = environment()
    return Source(
        name=name,
        header=templates.get_template("model.h.jinja").render(context),
        code=templates.get_template("model.c.jinja").render(context),
        plan=plan,
        version=context["version"],
        weights=layout.trained,
    )


@lru_cache
def environment() -> Environment:
    """Templates of this package; a name that is missing is an error."""
    return Environment(
        loader=PackageLoader("lightsleeper.device"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def _context(plan: Plan, name: str, layout: Layout) -> dict[str, Any]:
    network = plan.network
    first = min(i for i, _ in plan.trained)
    layers = [layer_context(plan, index, first, layout) for index in range(len(network.layers))]
    activations = {layer.activation for layer in network.layers}
    recurrent = any(isinstance(layer, Gru) for layer in network.layers)
    entropy = network.loss != "mse"
    labelled = "int32_t label"
    fields = plan.fields(name)
    operations = [_operation(op, layers, name) for op in plan.training.operations]
    loss_at = next(i for i, op in enumerate(plan.training.operations) if op.kind == "loss")
    backward = operations[loss_at + 1 :]
    inference = [_operation(op, layers, name) for op in plan.inference.operations]
    context: dict[str, Any] = {
        "name": name,
        "NAME": name.upper(),
        "release": release_of("lightsleeper"),
        "summary": _summary(plan),
        "memory_map": plan.memory_map(),
        "inputs": network.inputs,
        "outputs": network.outputs,
        "parameters": plan.parameters,
        "frozen_count": plan.frozen,
        "arena": plan.arena_bytes // 4,
        "fields": fields,
        "layers": layers,
        "frozen": c_numbers(layout.frozen),
        "initial": c_numbers(layout.trained),
        "loss": network.loss,
        "last_activation": network.layers[-1].activation,
        "target_declaration": labelled if entropy else f"const float target[{name.upper()}_OUTPUTS]",
        "target_name": "label" if entropy else "target",
        "bad_target": _bad_target(plan, name),
        "best_meaning": _best(plan),
        "one_over_outputs": c_float(1.0 / network.outputs),
        "two_over_outputs": c_float(2.0 / network.outputs),
        "uses_packed": any(layer.packed for layer in network.layers),
        "uses_exp": entropy or recurrent or bool(activations & {"tanh", "sigmoid"}),
        "uses_log": entropy,
        "uses_sigmoid": recurrent or network.loss == "binary_cross_entropy" or "sigmoid" in activations,
        "uses_tanh": recurrent or "tanh" in activations,
        "forward_operations": operations[:loss_at],
        "loss_argument": _pointer(plan.training.operations[loss_at].y, name),
        "backward_operations": backward,
        "reads_weights_again": any(op["kind"] == "forward" for op in backward),
        "reads_sample": any("x" in op["arguments"] for op in backward),
        "inference_operations": inference,
        "inference_output": _pointer(plan.inference.operations[-1].y, name),
    }
    context |= _rule_context(plan) | _settle_context()
    context["version"] = _version(context)
    return context


def _rule_context(plan: Plan) -> dict[str, Any]:
    rule = plan.rule
    gate = rule.gate
    return {
        "averaging": rule.averaging,
        "settle": rule.averaging == "settle",
        "anchor_in_flash": rule.anchor == "flash",
        "accumulate": plan.accumulate,
        "batch": rule.batch,
        "one_over_batch": c_float(1.0 / rule.batch),
        "momentum": c_float(rule.momentum) if rule.momentum else "",
        "period": gate.period,
        "last_share": gate.last_share,
        "sample_every": gate.sample_every,
        "window": gate.steps_per_window,
        "carry": c_float(rule.carry),
        "blend": c_float(rule.blend),
        "of_earlier_mean": rule.against == "earlier_mean",
        "of_periods": rule.of == "periods",
        "last": rule.last,
        "ring": rule.copies.get("ring", 0),
        "initial_copies": [n for n in rule.copies if n != "momentum"] if rule.averaging != "pwalks" else [],
        "zero_copies": [n for n in ("momentum",) if rule.momentum] + ["gradient"] * plan.accumulate,
    }


def _settle_context() -> dict[str, Any]:
    return {
        "one_over_b": c_float(1.0 / settle_rule.BLEND),
        "one_minus_b": c_float(1.0 - settle_rule.BLEND),
        "reach": c_float(settle_rule.REACH),
        "size": c_float(settle_rule.SIZE),
        "drift": c_float(settle_rule.DRIFT),
        "walk": c_float(settle_rule.WALK),
        "walk_memory": c_float(settle_rule.WALK_MEMORY),
        "least_stretch": c_float(settle_rule.STRETCH[0]),
        "most_stretch": c_float(settle_rule.STRETCH[1]),
        "alone": c_float(settle_rule.ALONE),
        "drift_every": DRIFT_EVERY,
        "least_growth": c_float(settle_rule.GROWTH[0]),
        "most_growth": c_float(settle_rule.GROWTH[1]),
        "stands_out": c_float(settle_rule.STANDS_OUT),
        "first_spread": c_float(settle_rule.FIRST_SPREAD),
        "memory_windows": settle_rule.MEMORY_WINDOWS,
        "probe_windows": settle_rule.PROBE_WINDOWS,
        "window_steps": settle_rule.WINDOW,
        "one_over_window": c_float(1.0 / settle_rule.WINDOW),
        "periods_in_age": round(1.0 / settle_rule.PERIOD_SHARE),
    }


def _version(context: dict[str, Any]) -> int:
    """CRC-32 of all that a state's meaning depends on; of the weights only their number."""
    shown = [f"{f.kind} {f.name}[{f.count}]" for f in context["fields"]]
    rule = [context[key] for key in sorted(_RULE_KEYS)]
    layers = [
        {k: v for k, v in layer.items() if k not in ("forward_scratch", "backward_scratch")}
        for layer in context["layers"]
    ]
    return zlib.crc32(repr((shown, rule, layers, context["loss"])).encode())


_RULE_KEYS = (
    "averaging",
    "batch",
    "momentum",
    "period",
    "last_share",
    "sample_every",
    "window",
    "carry",
    "blend",
    "ring",
)


def _summary(plan: Plan) -> list[str]:
    layers = [layer_title(layer) for layer in plan.network.layers]
    rule = plan.rule
    how = {"none": "SGD", "settle": "Settle"}.get(rule.averaging, f"SGD with {rule.averaging.upper()}")
    return [
        *(f"layer {index}: {title}" for index, title in enumerate(layers)),
        f"loss {plan.network.loss}; {how}, batches of {rule.batch}",
        f"{plan.parameters} weights trained, {plan.frozen} constant",
    ]


def _best(plan: Plan) -> str:
    return {
        "none": "those of training",
        "pwalks": "those of training, which are the mean after each write-back",
        "pswa": "the mean, or those of training where there is none yet",
        "pswm": "the mean, or those of training where there is none yet",
        "settle": "the anchor, which is the last good average",
    }[plan.rule.averaging]


def _bad_target(plan: Plan, name: str) -> str:
    classes = {"cross_entropy": plan.network.outputs, "binary_cross_entropy": 2, "mse": 0}[plan.network.loss]
    return f"label < 0 || label >= {classes}" if classes else f"!{name}_finite(target, {plan.network.outputs})"


def c_numbers(values: Array) -> str:
    """Elements of a C array, in lines."""
    texts = [c_float(float(v)) for v in values]
    return ",\n".join("    " + ", ".join(texts[i : i + _LINE]) for i in range(0, len(texts), _LINE))


def _pointer(buffer: Buffer | None, name: str) -> str:
    return "x" if buffer is None else f"{name}_arena + {buffer.offset}"


def _bytes(pointer: str) -> str:
    return f"(unsigned char *)({pointer})"


def _operation(op: Operation, layers: list[dict[str, Any]], name: str) -> dict[str, Any]:
    layer = layers[op.layer]
    x, y = _pointer(op.x, name), _pointer(op.y, name)
    if layer["packed_before"]:
        x = _bytes(x)
    if layer["packed"]:
        y = _bytes(y)
    scratch = [_pointer(op.scratch, name)] if op.scratch else []
    kept = [_pointer(op.kept, name)] if op.kept else []
    if layer["kind"] == "block":
        kept = [_bytes(each) for each in kept] or ["NULL"]
    if op.kind == "backward":
        arguments = ["s", x, y, *scratch, *kept]
    elif layer["kind"] == "gru":
        arguments = ["p", x, y, *(kept or scratch), "1" if kept else "0"]
    else:
        arguments = ["p", x, y, *scratch, *kept]
    return {"kind": op.kind, "index": op.layer, "arguments": arguments}

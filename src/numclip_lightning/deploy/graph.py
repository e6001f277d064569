"""A network as data: a list of PyTorch's own operations in JSON, and tensors by name; no code, no pickle.

`trace` writes a module down, `Graph` runs it again with nothing but torch: neither Lightning nor open_clip nor the
class that the module had. Parameters that no operation reads, such as a text tower, are left out by that alone.
"""

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind

from numclip_lightning.deploy.parts import any_size, exportable
from numclip_lightning.errors import ConfigError

__all__ = ["Graph", "trace"]

Step = dict[str, Any]

_ARITHMETIC = "add sub mul floordiv truediv mod neg getitem pow eq ge le gt lt"
_FUNCTIONS = {f"operator.{name}": getattr(operator, name) for name in _ARITHMETIC.split()}
_NAMES = {function: name for name, function in _FUNCTIONS.items()}
# Checks of sizes that the tracer writes down; sizes are checked before.
_CHECKS = ("_assert", "sym_constrain", "_guard")
# The operations of aten that reach beyond their arguments.
_REFUSED = {"from_file", "record_stream", "_print", "set_data"}
_KINDS = (torch.dtype, torch.layout, torch.memory_format)


def trace(module: nn.Module, example: Tensor) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Write a module down.

    Args:
        module: A module of one tensor, in evaluation; it is not changed.
        example: An input of two samples or more; the first dimension may have any size later.

    Returns:
        The graph as plain values, and the tensors that it reads, by name.

    Raises:
        ConfigError: If the module does what PyTorch can't export.
    """
    try:
        with exportable():
            # Once as it is: what a module computes on its first call (prototypes) is a constant of the graph then.
            module(example)
            program = torch.export.export(module, (example,), dynamic_shapes=({0: any_size("batch")},), strict=False)
    except Exception as error:  # torch's exporter has dozens of errors
        raise ConfigError(
            f"the model can't be exported: {type(error).__name__}: {str(error).splitlines()[0]}"
        ) from error
    sources = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    steps: list[Step] = []
    weights: dict[str, Tensor] = {}
    inputs: list[str] = []
    for node in program.graph.nodes:
        if node.op == "placeholder":
            spec = sources[node.name]
            if spec.kind is InputKind.USER_INPUT:
                inputs.append(node.name)
            elif node.users:
                name = str(spec.target).removeprefix("method.")
                found = program.state_dict if spec.target in program.state_dict else program.constants
                weights[name] = found[spec.target].detach()
                # Convolutions are faster with channels last in memory, which files don't keep.
                layout = {} if weights[name].is_contiguous() else {"stride": list(weights[name].stride())}
                steps.append({"name": node.name, "weight": name, **layout})
        elif node.op == "call_function":
            step = _write_call(node)
            if step:
                steps.append(step)
        elif node.op == "output":
            outputs = _write(node.args[0])
        else:
            raise ConfigError(f"the model can't be exported: it has a step of the kind {node.op}.")
    return {"inputs": inputs, "steps": steps, "outputs": outputs}, weights


def _write_call(node: torch.fx.Node) -> Step | None:
    target: Any = node.target
    name = _NAMES.get(target) or str(target)
    if any(check in name for check in _CHECKS):
        return None
    if name not in _FUNCTIONS:
        _find(name)
    step: Step = {"name": node.name, "call": name, "args": _write(node.args)}
    if node.kwargs:
        step["kwargs"] = {key: _write(value) for key, value in node.kwargs.items()}
    return step


def _write(value: Any) -> Any:
    """Turn an argument into plain values."""
    if isinstance(value, torch.fx.Node):
        return {"of": value.name}
    if isinstance(value, list | tuple):
        return [_write(item) for item in value]
    if isinstance(value, torch.device):
        return {"device": "here"}
    if isinstance(value, _KINDS):
        return {"torch": str(value).removeprefix("torch.")}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"the model can't be exported: an operation has the argument {value!r}.")


def _find(name: str) -> Any:
    """Return an operation by its name.

    Raises:
        ConfigError: If it is none of PyTorch's computations.
    """
    if name in _FUNCTIONS:
        return _FUNCTIONS[name]
    space, _, rest = name.partition(".")
    operation, _, overload = rest.partition(".")
    found = None
    if space == "aten" and operation not in _REFUSED and operation.isidentifier() and overload.isidentifier():
        found = getattr(getattr(torch.ops.aten, operation, None), overload, None)
    if not isinstance(found, torch._ops.OpOverload):
        raise ConfigError(f"the model has the operation {name!r}, which this version of PyTorch doesn't know.")
    return found


class Graph(nn.Module):
    """Module that runs a graph.

    Args:
        graph: As `trace` returns it.
        weights: Its tensors by name, likewise.

    Raises:
        ConfigError: If the graph can't be read, or a tensor is missing.
    """

    def __init__(self, graph: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._graph = dict(graph)
        try:
            self._inputs: list[str] = list(graph["inputs"])
            self._outputs = graph["outputs"]
            self._steps = [self._prepare(step, weights) for step in graph["steps"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"the model's graph can't be read ({error!r}); export it again.") from error
        self._last = _last_uses(graph["steps"], self._outputs)

    def _prepare(self, step: Step, weights: Mapping[str, Tensor]) -> tuple[str, Any, Any, Any]:
        if "weight" in step:
            name = step["weight"].replace(".", "/")
            tensor = weights[step["weight"]]
            if "stride" in step:
                tensor = torch.empty_strided(tensor.shape, step["stride"], dtype=tensor.dtype).copy_(tensor)
            self.register_buffer(name, tensor)
            return step["name"], None, name, None
        return step["name"], _find(step["call"]), step["args"], step.get("kwargs", {})

    def written(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the graph and its tensors, as `trace` does."""
        return self._graph, {name.replace("/", "."): tensor for name, tensor in self.named_buffers()}

    @property
    def device(self) -> torch.device:
        """Where the tensors are; the CPU if there are none."""
        return next((tensor.device for tensor in self.buffers()), torch.device("cpu"))

    def forward(self, *inputs: Tensor) -> Any:
        """Run the graph: a tensor, or a tuple of tensors."""
        found: dict[str, Any] = dict(zip(self._inputs, inputs, strict=True))
        device = inputs[0].device
        for (name, operation, args, kwargs), unused in zip(self._steps, self._last, strict=True):
            if operation is None:
                found[name] = self._buffers[args]
            else:
                keywords = {key: _read(value, found, device) for key, value in kwargs.items()}
                found[name] = operation(*_read(args, found, device), **keywords)
            for other in unused:
                del found[other]
        result = _read(self._outputs, found, device)
        return result[0] if len(result) == 1 else tuple(result)


def _last_uses(steps: Sequence[Step], outputs: Any) -> list[list[str]]:
    """Return for each step the results that no later one reads: they are freed there."""
    seen = _names_in(outputs)
    known = {step["name"] for step in steps}
    freed: list[list[str]] = []
    for step in reversed(steps):
        used = _names_in(step.get("args")) | _names_in(step.get("kwargs")) | {step["name"]}
        freed.append(sorted((used - seen) & known))
        seen |= used
    return freed[::-1]


def _names_in(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        return {value["of"]} if "of" in value else set().union(*map(_names_in, value.values()))
    return set().union(*map(_names_in, value)) if isinstance(value, list) else set()


def _read(value: Any, found: Mapping[str, Any], device: torch.device) -> Any:
    """Turn plain values into an argument."""
    if isinstance(value, list):
        return [_read(item, found, device) for item in value]
    if isinstance(value, Mapping):
        ((kind, item),) = value.items()
        if kind == "of":
            return found[item]
        if kind == "device":
            return device
        return float(item) if kind == "float" else getattr(torch, item)
    return value

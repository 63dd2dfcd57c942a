"""One operator call of the captured graph, its arguments bound by name to values and literals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.utils import _pytree as pytree

from ..artifact.captured import Origin
from .values import Constant, Linear


@dataclass(frozen=True, eq=False)
class Call:
    """`target(**arguments)`: every schema argument is present; tensors are `Constant` or `Linear`.

    The schema's `self` is called `input` here.
    """

    target: OpOverload
    arguments: Mapping[str, Any]
    origin: Origin

    @classmethod
    def bind(cls, target: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], origin: Origin) -> Call:
        """Match positional and named arguments to the operator's schema, defaults filled in."""
        bound: dict[str, Any] = {}
        for position, argument in enumerate(target._schema.arguments):
            default = argument.default_value if argument.has_default_value() else None
            given = args[position] if position < len(args) else kwargs.get(argument.name, default)
            bound[_public(argument.name)] = torch.get_default_device() if isinstance(given, torch.device) else given
        return cls(target, bound, origin)

    @property
    def name(self) -> str:
        """The operator's full name, e.g. `aten.add.Tensor`."""
        return str(self.target)

    @property
    def place(self) -> str:
        """The operator with its place in the model, for messages."""
        return f"{self.name.removeprefix('aten.')} at '{self.origin.name}' ({self.origin.op})"

    def constants(self) -> list[Constant]:
        """All constant tensor arguments, nested ones included."""
        return [leaf for leaf in self._leaves() if isinstance(leaf, Constant)]

    def linears(self) -> list[Linear]:
        """All arguments that depend on the input, nested ones included."""
        return [leaf for leaf in self._leaves() if isinstance(leaf, Linear)]

    def run(self, substitute: Callable[[Linear], Tensor] | None = None, **overrides: Any) -> Any:
        """Execute the operator on tensors: constants as they are, dependent values by `substitute`."""
        bound = {**self.arguments, **overrides}
        tensors = {key: _to_tensors(value, substitute) for key, value in bound.items()}
        positional, named = [], {}
        for argument in self.target._schema.arguments:
            if argument.kwarg_only:
                named[argument.name] = tensors[_public(argument.name)]
            else:
                positional.append(tensors[_public(argument.name)])
        return self.target(*positional, **named)

    def _leaves(self) -> list[Any]:
        return pytree.tree_leaves(dict(self.arguments))


def _public(name: str) -> str:
    return "input" if name == "self" else name


def _to_tensors(value: Any, substitute: Callable[[Linear], Tensor] | None) -> Any:
    def convert(leaf: Any) -> Any:
        if isinstance(leaf, Constant):
            return leaf.value
        if isinstance(leaf, Linear):
            assert substitute is not None, "a dependent value needs a substitute"
            return substitute(leaf)
        return leaf

    return pytree.tree_map(convert, value, is_leaf=is_value)


def name_of(node: fx.Node) -> str:
    """The operator's name without its library, e.g. `add.Tensor`."""
    return str(node.target).removeprefix("aten.")


def origin_of(node: fx.Node) -> Origin:
    """Where in the model the node comes from; the node itself where nobody said."""
    return node.meta.get("origin") or Origin(node.name, name_of(node))


def is_value(leaf: Any) -> bool:
    """Whether an argument is a tensor value rather than a literal."""
    return isinstance(leaf, Constant | Linear)

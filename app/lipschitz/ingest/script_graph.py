"""A script's inlined graph, node by node: only what is on the lists may take part.

A program is a function if nothing survives a call, and its trace shows all of it if nothing reads numbers or asks for
circumstances (gradients, autocast, randomness, time) where no trace is kept. Nodes are therefore allowed by kind, in
the graph and in every block of a branch or loop; forks, calls that inlining leaves, and attributes that are written
have no place in the list. Lists and dictionaries may be changed when they were made in the same call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from ..errors import StatefulModel, UnsupportedOperator
from .proposal import resolve
from .visible import is_dispatched, is_visible, words

STRUCTURE = words(
    """
    prim::Constant prim::GetAttr prim::If prim::Loop prim::ListConstruct prim::ListUnpack prim::TupleConstruct
    prim::TupleUnpack prim::TupleIndex prim::TupleSlice prim::DictConstruct prim::NumToTensor prim::RaiseException
    prim::Uninitialized prim::unchecked_cast prim::unchecked_unwrap_optional prim::isinstance prim::dtype
    prim::device prim::is_cuda prim::is_cpu prim::is_sparse prim::is_quantized prim::is_mkldnn prim::is_meta
    prim::is_xla prim::is_xpu prim::is_mps prim::is_nested prim::layout prim::type prim::itemsize prim::max
    prim::min prim::abs prim::ConstantChunk prim::rangelist prim::EnumValue prim::EnumName prim::StringIndex
    """
)
"""Kinds of the language itself, and questions about a tensor's type."""

SCALARS = words(
    """
    aten::Bool aten::Float aten::FloatImplicit aten::Int aten::IntImplicit aten::ScalarImplicit aten::__and__
    aten::__contains__ aten::__derive_index aten::__getitem__ aten::__lshift__
    aten::__not__ aten::__or__ aten::__range_length aten::__round_to_zero_floordiv aten::__rshift__ aten::__xor__
    aten::_infer_size aten::_unwrap_optional aten::abs aten::add aten::all aten::any aten::as_tensor
    aten::broadcast_shapes aten::ceil aten::copy aten::copysign aten::cos aten::cosh aten::count aten::degrees
    aten::device aten::dict aten::div aten::divmod aten::endswith aten::eq aten::erf aten::exp aten::expm1
    aten::fabs aten::factorial aten::find aten::floor aten::floordiv aten::fmod aten::format aten::gamma aten::gcd
    aten::ge aten::get aten::gt aten::has_torch_function aten::index aten::isfinite aten::isinf aten::isnan
    aten::items aten::join aten::keys aten::le aten::len aten::lgamma aten::list aten::log aten::log10 aten::log1p
    aten::lower aten::lt aten::mathremainder aten::max aten::min aten::mul aten::ne aten::neg aten::ord
    aten::percentFormat aten::pow aten::radians aten::remainder aten::replace aten::round aten::rstrip aten::sin
    aten::sinh aten::size aten::slice aten::sorted aten::split aten::sqrt aten::startswith aten::str aten::strip
    aten::sub aten::sum aten::tan aten::tanh aten::tensor aten::upper aten::values aten::warn
    """
)
"""Arithmetic on numbers, strings, lists and dictionaries, where no tensor is an operand."""

ON_TENSORS = words(
    """
    aten::Bool.Tensor aten::Float.Tensor aten::Int.Tensor aten::FloatImplicit aten::IntImplicit aten::ScalarImplicit
    aten::len.Tensor aten::dim aten::size aten::cpu aten::copy_.Tensor aten::copy_.int aten::copy_.float aten::split
    aten::index_put_ aten::index_put aten::__interpolate.scale_list aten::__interpolate
    aten::__interpolate.size_list aten::__interpolate.size_list_scale_list aten::__upsample
    aten::__upsample.size_list aten::__upsample_bilinear aten::__upsample_bilinear.size_list
    aten::__upsample_bilinear.scale_list aten::__upsample_bilinear.size_list_scale_list aten::__upsample_nearest
    aten::__upsample_nearest.size_list aten::to.prim_Device aten::to.prim_dtype aten::to.prim_other aten::mT
    aten::numpy_T aten::einsum.sublist aten::__getitem__.t aten::len.t aten::slice.t aten::add.t aten::list.t
    aten::copy.t aten::mul.left_t aten::mul.right_ aten::_unwrap_optional aten::has_torch_function
    aten::is_non_overlapping_and_dense aten::__getitem__.Dict_str aten::__getitem__.Dict_int aten::keys.str
    aten::keys.int aten::values.str aten::values.int aten::items.str aten::items.int aten::get.str
    aten::get.default_str aten::get.int aten::get.default_int aten::__contains__.str aten::__contains__.int
    aten::len.Dict_str aten::len.Dict_int aten::dict.Dict_str aten::dict.Dict_int aten::copy.Dict_str
    aten::copy.Dict_int
    """
)
"""Operators that the dispatcher does not know and that take tensors: they ask for shapes, or pass tensors on to
operators that leave a trace."""

PLAIN = words("int float bool str number Scalar complex None NoneType Device List Optional Dict Tuple Union")
"""Words of the types that hold no tensor."""

IDENTITY = frozenset({"aten::__is__", "aten::__isnot__"})
"""Whether two values are one object, which no number decides."""

CONTAINERS = words(
    """
    aten::append aten::extend aten::insert aten::_set_item aten::pop aten::clear aten::reverse aten::update
    aten::setdefault aten::Delete aten::add_
    """
)
"""What changes a list or a dictionary."""

MAKING = frozenset({"prim::ListConstruct", "prim::DictConstruct", "aten::list", "aten::dict", "aten::copy"})
"""What makes a new one; a list read from an attribute is not among them."""

PASSING = frozenset({"aten::append", "aten::add_", "prim::unchecked_cast"})
"""What hands its first operand on."""


def nodes(block: Any) -> Iterator[Any]:
    """All nodes of a graph, those of the blocks of its branches and loops included."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from nodes(inner)


def without_prints(module: torch.jit.ScriptModule) -> None:
    """Strike out what only prints, in place: to print a tensor reads its values."""
    for part in module.modules():
        script: Any = part._c
        for name in script._method_names():
            for node in script._get_method(name).graph.findAllNodes("prim::Print"):
                node.destroy()


def _reached(module: torch.jit.ScriptModule, block: Any) -> Iterator[Any]:
    """The nodes that can run: of a branch on an attribute or a constant, only the way that is taken."""
    for node in block.nodes():
        yield node
        taken = _decided(module, node.inputsAt(0)) if node.kind() == "prim::If" else None
        blocks = list(node.blocks())
        for inner in blocks if taken is None else [blocks[0 if taken else 1]]:
            yield from _reached(module, inner)


def _decided(module: torch.jit.ScriptModule, value: Any) -> bool | None:
    """The truth value that a condition always has; None where it is not known. No attribute is ever written."""
    node = value.node()
    if node.kind() == "prim::If":
        taken = _decided(module, node.inputsAt(0))
        place = [output.unique() for output in node.outputs()].index(value.unique())
        return None if taken is None else _decided(module, list(list(node.blocks())[not taken].outputs())[place])
    if node.kind() == "aten::__not__":
        negated = _decided(module, node.inputsAt(0))
        return None if negated is None else not negated
    if node.kind() in IDENTITY:
        same = _is_none(node)
        return None if same is None else same == (node.kind() == "aten::__is__")
    known = resolve(module, value) if node.kind() in ("prim::Constant", "prim::GetAttr") else None
    return known if isinstance(known, bool) else None


def _is_none(node: Any) -> bool | None:
    """Whether one of the node's operands is None as the other; None where that is not known, or neither always is."""
    kinds = [value.type().kind() for value in node.inputs()]
    if "NoneType" not in kinds:
        return None
    other = kinds[1 - kinds.index("NoneType")]
    if other == "NoneType":
        return True
    if other != "OptionalType":
        return False
    value = node.inputsAt(1 - kinds.index("NoneType"))
    return (value.toIValue() is None) if value.node().kind() == "prim::Constant" else None


def check(module: torch.jit.ScriptModule) -> None:
    """Raise StatefulModel or UnsupportedOperator for the first node that is not allowed, and for hooks."""
    if module._c._get_forward_hooks() or module._c._get_forward_pre_hooks():
        raise UnsupportedOperator("The TorchScript module has hooks of its own, which its forward does not show.")
    joined: dict[int, list[Any]] = {}
    graph = module.inlined_graph  # made anew at every access
    for node in nodes(graph):
        joined |= dict(_joined(node))
    for node in _reached(module, graph):
        _check(node, joined)


def _joined(node: Any) -> Iterator[tuple[int, list[Any]]]:
    """For every result of a branch or loop, and every variable of a loop: the values that it can be."""
    ends = [list(block.outputs()) for block in node.blocks()]
    if node.kind() == "prim::If":
        for place, result in enumerate(node.outputs()):
            yield result.unique(), [end[place] for end in ends]
    elif node.kind() == "prim::Loop":
        (body,), ((_, *last),) = node.blocks(), ends
        variables = zip(node.outputs(), list(body.inputs())[1:], list(node.inputs())[2:], last, strict=True)
        for result, variable, first, next_ in variables:
            yield result.unique(), [first, next_]
            yield variable.unique(), [first, next_]


def _check(node: Any, joined: Mapping[int, list[Any]]) -> None:
    kind = node.kind()
    if kind == "prim::SetAttr":
        raise StatefulModel("The model's forward writes to its own attributes: it keeps state between calls.")
    if kind in CONTAINERS and str(node.inputsAt(0).type()) != "Tensor":
        if not _is_made_here(node.inputsAt(0), joined, set()):
            raise StatefulModel(
                f"The model's forward changes a list or dictionary ({kind}) that it did not make itself: it may keep "
                "state between calls."
            )
    elif not _is_allowed(node, kind):
        raise UnsupportedOperator(
            f"TorchScript operator {kind} is not one whose effect a trace of the model shows: export the model with "
            "torch.export or torch.onnx.export."
        )


def _is_allowed(node: Any, kind: str) -> bool:
    if kind in STRUCTURE or kind in IDENTITY:
        return True
    full, _, _ = node.schema().partition("(")
    if full in ON_TENSORS:
        return True
    if kind.startswith("aten::") and is_dispatched(full):
        name, _, overload = full.removeprefix("aten::").partition(".")
        return is_visible(name, overload, torch._C.parse_schema(node.schema()))
    return kind in SCALARS and all(_is_plain(value) for value in node.inputs())


def _is_plain(value: Any) -> bool:
    """Whether a value is made of numbers, strings and the like; what is of type Any may be a tensor."""
    return set(re.findall(r"[\w.]+", str(value.type()))) <= PLAIN


def _is_made_here(value: Any, joined: Mapping[int, list[Any]], seen: set[int]) -> bool:
    """Whether every list that this value can be was made in this call."""
    if value.unique() in seen:
        return True
    seen.add(value.unique())
    if value.unique() in joined:
        return all(_is_made_here(source, joined, seen) for source in joined[value.unique()])
    node = value.node()
    if node.kind() in PASSING:
        return _is_made_here(node.inputsAt(0), joined, seen)
    return node.kind() in MAKING

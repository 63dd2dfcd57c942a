"""Recurrent layers, unrolled over the (fixed) sequence: LSTM, GRU and plain RNN."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .table import OnnxCall, op

State = tuple[Tensor, ...]
Step = Callable[[Tensor, State, int], State]

DEFAULT_ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


@op("LSTM")
def lstm(call: OnnxCall) -> Sequence[Tensor]:
    """Gates in ONNX order i, o, f, c: c' = f c + i tanh(.), h' = o tanh(c')."""
    if call.has(7) or call.attr("input_forget", 0):
        raise call.refuse("peepholes and coupled gates")

    def step(gates: Tensor, state: State, _direction: int) -> State:
        i, o, f, c = gates.chunk(4, -1)
        cell = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(c)
        return torch.sigmoid(o) * torch.tanh(cell), cell

    return _unroll(call, step, states=2)


@op("GRU")
def gru(call: OnnxCall) -> Sequence[Tensor]:
    """Gates in ONNX order z, r, h: h' = (1 - z) n + z h."""
    linear_before_reset = bool(call.attr("linear_before_reset", 0))
    hidden = int(call.attr("hidden_size"))

    def step(gates: Tensor, state: State, direction: int) -> State:
        weight, bias = _recurrent(call, direction)
        z, r = (
            torch.sigmoid(gates[:, gate] + state[0] @ weight[gate].t() + bias[gate])
            for gate in (slice(0, hidden), slice(hidden, 2 * hidden))
        )
        inner, inner_bias = weight[2 * hidden :].t(), bias[2 * hidden :]
        if linear_before_reset:
            n = torch.tanh(gates[:, 2 * hidden :] + r * (state[0] @ inner + inner_bias))
        else:
            n = torch.tanh(gates[:, 2 * hidden :] + (r * state[0]) @ inner + inner_bias)
        return ((1 - z) * n + z * state[0],)

    return _unroll(call, step, states=1, recurrent_inside=True)


@op("RNN")
def rnn(call: OnnxCall) -> Sequence[Tensor]:
    """h' = tanh(.)."""
    return _unroll(call, lambda gates, _state, _direction: (torch.tanh(gates),), states=1)


def _recurrent(call: OnnxCall, direction: int) -> tuple[Tensor, Tensor]:
    """Weight and bias of the step from state to state."""
    weight = call.tensor(2)[direction]
    bias = call.optional(3)
    return weight, weight.new_zeros(weight.shape[0]) if bias is None else bias[direction].chunk(2)[1]


def _unroll(call: OnnxCall, step: Step, states: int, recurrent_inside: bool = False) -> Sequence[Tensor]:
    _check(call)
    x = call.tensor(0).transpose(0, 1) if call.attr("layout", 0) else call.tensor(0)
    directions = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    runs = [
        _one_direction(
            call, x, step, states=states, recurrent_inside=recurrent_inside, direction=index, reverse=reverse
        )
        for index, reverse in enumerate(directions[call.attr("direction", "forward")])
    ]
    y = torch.stack([sequence for sequence, _ in runs], 1)
    finals = [torch.stack([final[position] for _, final in runs]) for position in range(states)]
    if call.attr("layout", 0):
        return [y.permute(2, 0, 1, 3), *(final.transpose(0, 1) for final in finals)]
    return [y, *finals]


def _check(call: OnnxCall) -> None:
    kind = call.node.op_type
    chosen = [name.decode() for name in call.attr("activations", [])]
    defaults = DEFAULT_ACTIVATIONS[kind]
    if chosen and (len(chosen) % len(defaults) or chosen != defaults * (len(chosen) // len(defaults))):
        raise call.refuse(f"activations {chosen}")
    if "clip" in call.attributes:
        raise call.refuse("clip")
    length = call.tensor(0).shape[1 if call.attr("layout", 0) else 0]
    if call.has(4) and set(call.numbers(4)) != {length}:
        raise call.refuse("sequences shorter than the tensor")


def _one_direction(
    call: OnnxCall, x: Tensor, step: Step, *, states: int, recurrent_inside: bool, direction: int, reverse: bool
) -> tuple[Tensor, State]:
    """`(time, batch, hidden)` and the final state(s), `(batch, hidden)` each."""
    weight = call.tensor(1)[direction]
    bias = call.optional(3)
    gates = x @ weight.t()
    if bias is not None:
        gates = gates + bias[direction].chunk(2)[0]
    state = _initial(call, x, states, direction)
    recurrent, recurrent_bias = _recurrent(call, direction)
    outputs = []
    for time in reversed(range(x.shape[0])) if reverse else range(x.shape[0]):
        at_time = gates[time] if recurrent_inside else gates[time] + state[0] @ recurrent.t() + recurrent_bias
        state = step(at_time, state, direction)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if reverse else outputs), state


def _initial(call: OnnxCall, x: Tensor, states: int, direction: int) -> State:
    batch_first = bool(call.attr("layout", 0))
    hidden = int(call.attr("hidden_size"))
    given = [call.optional(5 + position) for position in range(states)]
    return tuple(
        x.new_zeros(x.shape[1], hidden) if h is None else (h[:, direction] if batch_first else h[direction])
        for h in given
    )

"""Recurrent layers, written out as linear layers over time steps: torch's fused calls hide the gates' gradients.

A weight used at every step gives one pair of factors per step; the collector joins them along the positions.
Packed sequences are left to the per-example loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from batchscope.gradients.rules.rule import rewrite

State = tuple[Tensor, ...]  # (h,) or, for an LSTM, (h, c)
Cell = Callable[[Tensor, Tensor, State], State]  # input gates, recurrent gates, state -> new state


def _lstm_step(from_input: Tensor, from_state: Tensor, state: State) -> State:
    """c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c')."""
    i, f, g, o = (from_input + from_state).chunk(4, -1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _gru_step(from_input: Tensor, from_state: Tensor, state: State) -> State:
    """h' = (1 - z) n + z h, n = tanh(n_x + r n_h)."""
    (r_x, z_x, n_x), (r_h, z_h, n_h) = from_input.chunk(3, -1), from_state.chunk(3, -1)
    n = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
    z = torch.sigmoid(z_x + z_h)
    return ((1 - z) * n + z * state[0],)


def _tanh_step(from_input: Tensor, from_state: Tensor, state: State) -> State:
    return (torch.tanh(from_input + from_state),)


def _relu_step(from_input: Tensor, from_state: Tensor, state: State) -> State:
    return (torch.relu(from_input + from_state),)


def _unroll(
    step: Cell,
    input: Tensor,
    initial: State,
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, State]:
    """(outputs over time, final states [layers x directions, N, ...]) of a stacked recurrent layer."""
    sequence = input.transpose(0, 1) if batch_first else input
    directions = 2 if bidirectional else 1
    weights = len(params) // (num_layers * directions)
    finals = []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            index = layer * directions + direction
            state = tuple(part[index] for part in initial)
            own = params[index * weights : (index + 1) * weights]
            hidden, state = _run(step, sequence, state, own, has_biases, direction == 1)
            outputs.append(hidden)
            finals.append(state)
        sequence = torch.cat(outputs, -1) if directions == 2 else outputs[0]
        if dropout and train and layer < num_layers - 1:
            sequence = F.dropout(sequence, dropout, True)
    last = tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
    return sequence.transpose(0, 1) if batch_first else sequence, last


def _run(
    step: Cell, sequence: Tensor, state: State, params: Sequence[Tensor], has_biases: bool, backwards: bool
) -> tuple[Tensor, State]:
    """One layer in one direction: ([T, N, H], final state). An LSTM's projection is the weight left over."""
    biases = params[2:4] if has_biases else (None, None)
    projection = params[4 if has_biases else 2 :]
    inputs = F.linear(sequence, params[0], biases[0]).unbind(0)
    outputs = []
    for gates in reversed(inputs) if backwards else inputs:
        state = step(gates, F.linear(state[0], params[1], biases[1]), state)
        if projection:
            state = (F.linear(state[0], projection[0]), *state[1:])
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if backwards else outputs), state


@rewrite(torch.lstm)
def lstm(input: Tensor, hx: Any, params: Any, *options: Any) -> Any:
    """torch.lstm: outputs, h, c."""
    if isinstance(hx, Tensor):
        return NotImplemented  # a packed sequence
    outputs, (h, c) = _unroll(_lstm_step, input, tuple(hx), params, *options)
    return outputs, h, c


def _plain(step: Cell) -> Callable[..., Any]:
    def layer(input: Tensor, hx: Tensor, params: Any, *options: Any) -> Any:
        if isinstance(params, Tensor):
            return NotImplemented
        outputs, (h,) = _unroll(step, input, (hx,), params, *options)
        return outputs, h

    return layer


def _cell(step: Cell) -> Callable[..., Any]:
    def cell(
        input: Tensor, hx: Any, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
    ) -> Any:
        state = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        new = step(F.linear(input, w_ih, b_ih), F.linear(state[0], w_hh, b_hh), state)
        return new if len(new) > 1 else new[0]

    return cell


rewrite(torch.gru)(_plain(_gru_step))
rewrite(torch.rnn_tanh)(_plain(_tanh_step))
rewrite(torch.rnn_relu)(_plain(_relu_step))
rewrite(torch.lstm_cell)(_cell(_lstm_step))
rewrite(torch.gru_cell)(_cell(_gru_step))
rewrite(torch.rnn_tanh_cell)(_cell(_tanh_step))
rewrite(torch.rnn_relu_cell)(_cell(_relu_step))

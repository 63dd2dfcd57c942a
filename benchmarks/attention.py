"""One attention head on a 2-ball of tokens about zero: AutoLip's local bound beside two closed forms.

    .venv/bin/python -m benchmarks.attention

Columns: ours; ||V|| (sqrt n + ||A|| R^2 (1 + sqrt n)) for tokens of norm <= R; Castin et al. 2024,
sqrt(3) ||V|| sqrt(||A||^2 R^4 (4 n + 1) + n); the best pair that gradient ascent finds.
"""

from __future__ import annotations

import io
import math

import torch
from torch import Tensor, nn

from app.lipschitz.files import analyze


class Head(nn.Module):
    """softmax(X W_Q W_K^T X^T / sqrt d) X W_V."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Parameter(torch.randn(width, width) / width**0.5) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `(1, n, d)` -> `(1, n, d)`."""
        logits = (x @ self.q) @ (x @ self.k).mT / math.sqrt(x.shape[-1])
        return torch.softmax(logits, -1) @ (x @ self.v)


def row(tokens: int, width: int, radius: float) -> None:
    """Print the bounds of one random head."""
    head = Head(width).eval().requires_grad_(False)
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(head, (torch.randn(1, tokens, width),)), buffer)
    ball = {"kind": "ball", "center": [0.0] * (tokens * width), "radius": radius}
    result = analyze(buffer.getvalue(), {"domain": ball})["result"]
    a = float(torch.linalg.matrix_norm(head.q.double() @ head.k.double().mT / math.sqrt(width), 2))
    v = float(torch.linalg.matrix_norm(head.v.double(), 2))
    closed = v * (math.sqrt(tokens) + a * radius**2 * (1 + math.sqrt(tokens)))
    castin = math.sqrt(3) * v * math.sqrt(a**2 * radius**4 * (4 * tokens + 1) + tokens)
    ours, attained = result["upper"]["value"], result["lower"]["value"]
    print(f"{tokens:4d} {width:4d} {radius:5.2f} {ours:10.4g} {closed:10.4g} {castin:10.4g} {attained:10.4g}")


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    print("   n    d     R       ours     closed     Castin   attained")
    for tokens, width, radius in ((4, 8, 1.0), (16, 8, 1.0), (16, 16, 0.5), (64, 16, 1.0), (64, 16, 0.1)):
        row(tokens, width, radius)


if __name__ == "__main__":
    main()

"""The exact method on networks with published constants: bracket, seconds, nodes of the search.

python -m benchmarks.exact [seconds]
"""

from __future__ import annotations

import sys
import time

from app.lipschitz.analysis import analyze
from tests.lipschitz.onnx_networks import mlp, published

PUBLISHED = {
    "exlipbab_iris": 11.634355134114875,
    "exlipbab_wine12": 1.7433699967107172,
    "exlipbab_abalone": 11.121602332235268,
    "lipsdp_random": 36.48222959637795,
}
"""Exact constants (that of lipsdp_random is LipSDP-Neuron's value, an upper bound)."""


def main(seconds: float) -> None:
    """One line a network."""
    print(
        f"{'network':18} {'published':>12} {'lower':>12} {'upper':>12} {'ratio':>9} {'s':>6} {'split':>6} {'empty':>6}"
    )
    for name, constant in PUBLISHED.items():
        model = mlp(*published(name))
        begun = time.monotonic()
        fields = {"methods": ["exact"], "budget_s": seconds, "options": {"exact": {"gap": 1e-4}}}
        result = analyze(model, fields)["result"]
        lower, upper = result["lower"]["value"], result["upper"]["value"]
        details = result["estimates"][0]["details"]
        print(
            f"{name:18} {constant:12.7f} {lower:12.7f} {upper:12.7f} {upper / lower:9.6f} "
            f"{time.monotonic() - begun:6.1f} {details['split']:6} {details['empty']:6}"
        )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)

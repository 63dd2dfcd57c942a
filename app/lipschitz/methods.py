"""The register of methods: the catalog's names, and the functions that answer to them."""

from __future__ import annotations

from app.lipschitz.exact.exact import exact
from app.lipschitz.jacobian.jacobian import jacobian
from app.lipschitz.lipsdp.lipsdp import lipsdp
from app.lipschitz.lipsdp.margins import lipsdp_margins
from app.lipschitz.lower.annealing import annealing
from app.lipschitz.lower.dataset import dataset as at_dataset
from app.lipschitz.lower.gradient import gradient
from app.lipschitz.lower.grid import grid
from app.lipschitz.seqlip.greedy_seqlip import greedy_seqlip
from app.lipschitz.seqlip.seqlip import seqlip
from app.lipschitz.walk.autolip import autolip
from app.lipschitz.walk.autolip_power import autolip_power
from app.lipschitz.walk.frobenius import frobenius
from app.lipschitz.walk.margins import Method, autolip_margins, no_margins, of_steepest_pairs

IMPLEMENTATIONS: dict[str, Method] = {
    "frobenius": frobenius,
    "autolip": autolip,
    "autolip_power": autolip_power,
    "greedy_seqlip": greedy_seqlip,
    "seqlip": seqlip,
    "dataset": at_dataset,
    "annealing": annealing,
    "grid": grid,
    "lipsdp": lipsdp,
    "exact": exact,
    "jacobian": jacobian,
    "gradient": gradient,
}
"""Every method of the catalog."""

FOR_MARGINS: dict[str, Method] = {name: no_margins(name) for name in IMPLEMENTATIONS} | {
    "autolip": autolip_margins,
    "lipsdp": lipsdp_margins,
    **{name: of_steepest_pairs(IMPLEMENTATIONS[name]) for name in ("dataset", "annealing", "grid", "gradient")},
}
"""Every method for all differences of two outputs."""

"""The register of methods: the catalog's names, and the functions that answer to them."""

from __future__ import annotations

from .exact.exact import exact
from .jacobian.jacobian import jacobian
from .lipsdp.lipsdp import lipsdp
from .lipsdp.margins import lipsdp_margins
from .lower.annealing import annealing
from .lower.dataset import dataset as at_dataset
from .lower.gradient import gradient
from .lower.grid import grid
from .seqlip.greedy_seqlip import greedy_seqlip
from .seqlip.seqlip import seqlip
from .walk.autolip import autolip
from .walk.autolip_power import autolip_power
from .walk.frobenius import frobenius
from .walk.margins import Method, autolip_margins, no_margins, of_steepest_pairs

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

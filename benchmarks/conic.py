"""LipSDP as a general conic solver sees it: the peers of our own solver."""

from __future__ import annotations

from typing import Any

import torch

from app.lipschitz.lipsdp.system import System

TIGHT = {
    "CLARABEL": dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-10),
    "SCS": {"eps_abs": 1e-6, "eps_rel": 1e-6, "max_iters": 100_000},
}


def least_rho(system: System, solver: str = "CLARABEL", **options: Any) -> float:
    """The least rho of one problem, to the solver's tolerances: no bound. NaN where it gives up."""
    import cvxpy

    n, m, size = system.inputs, system.neurons, system.size
    rows = system.pre(torch.eye(size, dtype=torch.float64)[None])[0].numpy()
    low, high = system.lower[0].numpy(), system.upper[0].numpy()
    u, w = -low[:, None] * rows, -high[:, None] * rows
    u[range(m), range(n, size)] += 1.0
    w[range(m), range(n, size)] += 1.0
    rho, t = cvxpy.Variable(nonneg=True), cvxpy.Variable(system.multipliers, nonneg=True)
    each = t if system.groups is None else t[system.groups.numpy()]
    energy = torch.zeros(size, size, dtype=torch.float64)
    energy[:n, :n] = torch.eye(n)
    coupled = u.T @ cvxpy.diag(each) @ w
    slack = rho * energy.numpy() + coupled + coupled.T - system.cost[0].numpy()
    problem = cvxpy.Problem(cvxpy.Minimize(rho), [slack >> 0])
    try:
        problem.solve(solver=solver, **(TIGHT[solver] | options))
    except cvxpy.error.SolverError:
        return float("nan")
    return float("nan") if rho.value is None else float(rho.value)

"""`lipserve compare A B`: how far two models are apart, on this machine without a server, or by a service."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..client import Client, OnProgress, Refused
from ..contract.comparison import ComparisonView
from ..printable import printable_json
from ..settings import ClientSettings
from .analyze import Fields, add_common_options, given_fields, guarded, shape_of, status_of
from .show import Display, comparison_summary


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `compare` understands."""
    parser.add_argument("a", type=Path, help="ONNX, TorchScript or torch.export file")
    parser.add_argument("b", type=Path, help="another one, of the same inputs and outputs, in any of these formats")
    parser.add_argument("--box", nargs=2, type=float, metavar=("LOWER", "UPPER"), help="the domain, one box for all")
    parser.add_argument("--dataset", type=Path, help="npy or npz file of points whose decisions are compared")
    parser.add_argument("--radius", type=float, metavar="R", help="judge decisions on balls of this radius")
    parser.add_argument("--max-difference", type=float, metavar="D", help="gate: the limit of the certified difference")
    parser.add_argument("--min-kept-share", type=float, metavar="S", help="gate: share of rows whose decision is kept")
    parser.add_argument("--budget", type=float, metavar="S", help="seconds that all takes (default 60)")
    add_common_options(parser)


def run(options: argparse.Namespace) -> int:
    """Exit status 0: gate passed or none given, 1: failed, 2: inconclusive, 3: error, whatever it is."""
    return guarded("compare", _run, options)


def _run(options: argparse.Namespace) -> int:
    server = options.server or ClientSettings().url
    with Display(is_live=sys.stderr.isatty() and not options.quiet) as display:
        request = request_of(options)
        result = _there(server, options, request, display) if server else _here(options, request, display)
    status = status_of(result, is_gated=request.get("gate") is not None)
    plain = result.model_dump(mode="json", exclude_unset=True)
    names = options.a.name, options.b.name
    sys.stdout.write((printable_json(plain) if options.json else comparison_summary(names, result)) + "\n")
    return status


def request_of(options: argparse.Namespace) -> Fields:
    """The request's fields that the options stand for; ValueError where they are no request."""
    fields = given_fields(options.request)
    plain: Fields = {"norm": options.norm, "budget_s": options.budget, "radius": options.radius}
    if options.shape:
        plain["inputs"] = dict(map(shape_of, options.shape))
    if options.box:
        plain["domain"] = {"kind": "box", "lower": options.box[0], "upper": options.box[1]}
    gate = {"max_difference": options.max_difference, "min_kept_share": options.min_kept_share}
    limits = {name: limit for name, limit in gate.items() if limit is not None}
    if limits:
        given = fields.get("gate")
        plain["gate"] = {**(given if isinstance(given, dict) else {}), **limits}
    return fields | {name: value for name, value in plain.items() if value is not None}


def _here(options: argparse.Namespace, request: Fields, progress: OnProgress) -> ComparisonView:
    from .local import compare_here  # half of the service, which those who ask one do not need

    answer = compare_here((options.a, options.b), options.dataset, request, progress, options.trust)
    return ComparisonView.model_validate(answer.result)


def _there(url: str, options: argparse.Namespace, request: Fields, progress: OnProgress) -> ComparisonView:
    with Client(url, ClientSettings().key) as client:
        if options.dataset is not None:
            request = request | {"dataset": client.upload_dataset(options.dataset)}
        job = client.compare(options.a, options.b, request, progress)
        if job.error is not None:
            raise Refused(job.error.status or 0, job.error)
        if not isinstance(job.result, ComparisonView):
            raise ValueError(f"the job was {job.status}")
        return job.result

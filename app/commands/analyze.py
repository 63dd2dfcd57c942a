"""`lipserve analyze MODEL`: a bracket on this machine without a server, or from a service, for people and for pipes."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from ..advice import command_advice
from ..client import Client, OnProgress, Refused, Unexpected
from ..contract.domain import Document
from ..contract.result import ResultView, Verdict
from ..errors import Problem
from ..lipschitz.errors import LipschitzError
from ..lipschitz.folder import model_in
from ..printable import printable, printable_json
from ..settings import ClientSettings
from .show import Display, summary

PASS, FAIL, INCONCLUSIVE, ERROR = 0, 1, 2, 3
"""Exit statuses."""
INTERRUPTED = 130
Fields = dict[str, object]
"""A request that nobody has checked yet."""
OF_VERDICT: dict[Verdict | None, int] = {"pass": PASS, "fail": FAIL, "inconclusive": INCONCLUSIVE, None: PASS}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `analyze` understands."""
    parser.add_argument(
        "model", type=Path, help="ONNX, TorchScript or torch.export file, or a folder or an archive that holds it"
    )
    parser.add_argument("--name", help="what the service should call the model, with --version: kept as a series")
    parser.add_argument("--version", help="which version of --name it is")
    parser.add_argument("--methods", help="names with commas between, or auto (default)")
    parser.add_argument("--dataset", type=Path, help="npy or npz file of points")
    parser.add_argument("--certify", action="store_true", help="radii for every row of the data set")
    parser.add_argument("--max-upper", type=float, metavar="L", help="gate: the certified upper bound's limit")
    parser.add_argument("--max-ratio", type=float, metavar="R", help="gate: the limit of upper over lower bound")
    parser.add_argument("--min-certified-share", type=float, metavar="S", help="gate: share of certified rows ...")
    parser.add_argument("--radius", type=float, metavar="R", help="... at this radius")
    parser.add_argument(
        "--monotone",
        action="append",
        default=[],
        metavar="NAME=+",
        help="gate: no output falls (-: rises) with an input",
    )
    parser.add_argument(
        "--max-sensitivity", action="append", default=[], metavar="NAME=S", help="gate: the most that |df/dx| may be"
    )
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="gate: the model of --max-increase")
    parser.add_argument("--max-increase", type=float, metavar="X", help="gate: limit, in bounds of the baseline")
    parser.add_argument("--input-names", metavar="A,B", help="names of the input's entries")
    parser.add_argument("--output-names", metavar="A,B", help="names of the output's entries")
    parser.add_argument("--budget", type=float, metavar="S", help="seconds that the methods share (default 60)")
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="write the certificate of the upper bound")
    add_common_options(parser)


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """What every command understands that asks about models."""
    parser.add_argument("--norm", choices=("1", "2", "inf"), help="norm of both spaces (default 2)")
    parser.add_argument(
        "--shape", action="append", default=[], metavar="NAME=1,784", help="shape of an input that a file leaves open"
    )
    parser.add_argument("--request", metavar="JSON", help="more fields of the request as JSON, or @FILE")
    parser.add_argument("--server", metavar="URL", help="have a service do it (LIPSERVE_URL, key LIPSERVE_KEY)")
    parser.add_argument("--trust", action="store_true", help="run a program also where this machine cannot confine it")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(options: argparse.Namespace) -> int:
    """Exit status 0: gate passed or none given, 1: failed, 2: inconclusive, 3: error, whatever it is."""
    return guarded("analyze", _run, options)


def guarded(name: str, act: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """The command's exit status; what keeps it from one goes to standard error, with what to do about it."""
    try:
        return act(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (Problem, LipschitzError, Refused, Unexpected, httpx.HTTPError, OSError, ValueError) as error:
        sys.stderr.write(f"lipserve {name}: {printable(error)}\n")
        if step := _next_step(error):
            sys.stderr.write(f"what to do: {printable(step)}\n")
    except Exception:  # Python's own status for it would be 1, which says that the gate has failed
        sys.stderr.write(printable(traceback.format_exc(), keep="\n"))
    return ERROR


def _next_step(error: Exception) -> str:
    """What to do about it, in the words of this command."""
    match error:
        case Problem() | LipschitzError():
            return command_advice(error.slug, error.detail)
        case Refused():
            return command_advice(error.problem.type, error.problem.detail)
    return ""


def _run(options: argparse.Namespace) -> int:
    server = options.server or ClientSettings().url
    if options.version is not None and not server:
        raise ValueError("--version is kept by a service: name one with --server")
    display = Display(is_live=sys.stderr.isatty() and not options.quiet)
    with display:
        request = request_of(options)
        answer = _there(server, options, request, display) if server else _here(options, request, display)
    result = answer.result
    status = status_of(result, is_gated=request.get("gate") is not None)
    plain = result.model_dump(mode="json", exclude_unset=True)
    sys.stdout.write((printable_json(plain) if options.json else summary(options.model.name, result)) + "\n")
    if options.certificate is not None:
        _write_certificate(options.certificate, answer.certificate)
    return status


def status_of(result: ResultView, *, is_gated: bool) -> int:
    """The verdict as exit status; ValueError where a gate has none."""
    if is_gated and result.verdict is None:
        raise ValueError("the answer to the gate is no verdict")
    return OF_VERDICT[result.verdict]


def request_of(options: argparse.Namespace) -> Fields:
    """The request's fields that the options stand for; ValueError where they are no request."""
    fields = given_fields(options.request)
    plain: Fields = {"norm": options.norm, "budget_s": options.budget, "certify": options.certify or None}
    if options.methods is not None:
        plain["methods"] = "auto" if options.methods == "auto" else options.methods.split(",")
    if options.shape:
        plain["inputs"] = dict(map(shape_of, options.shape))
    for names in ("input_names", "output_names"):
        if getattr(options, names) is not None:
            plain[names] = getattr(options, names).split(",")
    gate: Fields = {
        "max_upper": options.max_upper,
        "max_ratio": options.max_ratio,
        "max_increase": options.max_increase,
        "min_certified_share": options.min_certified_share,
        "radius": options.radius,
        "monotone": dict(_pair("monotone", text) for text in options.monotone) or None,
        "max_sensitivity": {n: float(s) for n, s in (_pair("max-sensitivity", t) for t in options.max_sensitivity)}
        or None,
    }
    limits = {name: limit for name, limit in gate.items() if limit is not None}
    if limits:
        gate_given = fields.get("gate")
        plain["gate"] = {**(gate_given if isinstance(gate_given, dict) else {}), **limits}
    return fields | {name: value for name, value in plain.items() if value is not None}


def given_fields(text: str | None) -> Fields:
    """What `--request` says; ValueError where it is no JSON object."""
    if text is None:
        return {}
    fields = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    if not isinstance(fields, dict):
        raise ValueError("--request is not a JSON object")
    return fields


def _pair(option: str, text: str) -> tuple[str, str]:
    name, _, value = text.rpartition("=")
    if not name:
        raise ValueError(f"--{option} {text!r} is not of the form NAME=VALUE")
    return name, value


def shape_of(text: str) -> tuple[str, list[int]]:
    """What one `--shape` says; ValueError where it is none."""
    name, _, sizes = text.rpartition("=")
    if not name:
        raise ValueError(f"--shape {text!r} is not of the form NAME=1,784")
    return name, [int(size) for size in sizes.split(",")]


@dataclass(frozen=True)
class _Found:
    result: ResultView
    certificate: Document | None


def _here(options: argparse.Namespace, request: Fields, progress: OnProgress) -> _Found:
    from .local import analyze_here  # half of the service, which those who ask one do not need

    request = with_baseline(request, options, lambda path: hashlib.sha256(path.read_bytes()).hexdigest())
    answer = analyze_here(
        options.model, options.dataset, request, progress, trusts=options.trust, baseline=options.baseline
    )
    return _Found(ResultView.model_validate(answer.result), answer.certificate)


def _there(url: str, options: argparse.Namespace, request: Fields, progress: OnProgress) -> _Found:
    with Client(url, ClientSettings().key) as client:
        if options.dataset is not None:
            request = request | {"dataset": client.upload_dataset(options.dataset)}
        asked = with_baseline(request, options, client.upload)
        job = client.analyze(model_in(options.model), asked, progress, name=options.name, version=options.version)
        if job.result is None and job.error is not None:
            raise Refused(job.error.status or 0, job.error)
        if job.result is None:
            raise ValueError(f"the job was {job.status}")
        has_certificate = options.certificate is not None and job.urls is not None and job.urls.certificate is not None
        return _Found(job.result, client.certificate(job.id) if has_certificate else None)


def with_baseline(request: Fields, options: argparse.Namespace, named: Callable[[Path], str]) -> Fields:
    """The request with the baseline in its gate, by the digest that `named` gives its file."""
    if options.baseline is None:
        return request
    gate = request.get("gate")
    return request | {"gate": {**(gate if isinstance(gate, dict) else {}), "baseline": named(options.baseline)}}


def _write_certificate(path: Path, certificate: Document | None) -> None:
    if certificate is None:
        sys.stderr.write("lipserve analyze: none of the methods made a certificate\n")
        return
    path.write_text(json.dumps(certificate))

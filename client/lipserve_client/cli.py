"""`lipserve-client analyze MODEL` and `compare A B`, by a running service, and `card RESULT` of what it answered."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import httpx

from lipserve_client.card import Card
from lipserve_client.client import Client, Job, Refused, Unexpected
from lipserve_client.contract.comparison import ComparisonView
from lipserve_client.contract.domain import norm_words

ERROR, INTERRUPTED = 3, 130
OF_VERDICT = {"pass": 0, "fail": 1, "inconclusive": 2, None: 0}
LIMITS = {
    "analyze": ("max_upper", "max_ratio", "min_certified_share", "radius", "max_increase"),
    "compare": ("max_difference", "min_kept_share"),
}
"""Limits of a gate, each an option."""


class Parser(argparse.ArgumentParser):
    """argparse's, whose own exit status 2 would mean `inconclusive`."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end the process."""
        self.print_usage(sys.stderr)
        self.exit(ERROR, f"{self.prog}: {message}\n")


def parser() -> Parser:
    """Both commands with their options."""
    top = Parser(prog="lipserve-client", description="Certified Lipschitz brackets by a running service.")
    commands = top.add_subparsers(dest="command", required=True)
    analyze = commands.add_parser("analyze", help="bracket the Lipschitz constant of a model")
    analyze.add_argument("models", nargs=1, type=Path, metavar="MODEL")
    analyze.add_argument("--methods", help="names with commas between, or auto (default)")
    analyze.add_argument("--baseline", type=Path, metavar="FILE", help="the model that --max-increase compares with")
    analyze.add_argument("--name", help="what the model is called, with --version: kept as a series")
    analyze.add_argument("--version", help="which version of --name it is")
    analyze.add_argument("--certificate", type=Path, metavar="FILE", help="write the certificate of the upper bound")
    compare = commands.add_parser("compare", help="how far two models of the same inputs and outputs are apart")
    compare.add_argument("models", nargs=2, type=Path, metavar=("A", "B"))
    for command, name in ((analyze, "analyze"), (compare, "compare")):
        command.add_argument("--url", default=os.environ.get("LIPSERVE_URL"), help="the service (LIPSERVE_URL)")
        command.add_argument("--norm", choices=("1", "2", "inf"))
        command.add_argument("--box", nargs=2, type=float, metavar=("LOWER", "UPPER"), help="a box as the domain")
        command.add_argument("--dataset", type=Path, help="npy or npz file of points")
        command.add_argument("--budget", type=float, metavar="S", help="seconds")
        command.add_argument("--request", default="{}", metavar="JSON", help="more fields of the request, or @FILE")
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        for limit in LIMITS[name]:
            command.add_argument(f"--{limit.replace('_', '-')}", type=float, help="a limit of the gate")
    _add_card(commands.add_parser("card", help="a part of a Hugging Face model card that tells a result"))
    return top


def _add_card(card: argparse.ArgumentParser) -> None:
    card.add_argument("result", type=Path, metavar="RESULT", help="what analyze --json printed, or a job as JSON")
    card.add_argument("--name", default="model", help="the model's name in the metadata")
    card.add_argument("--task", default="other", help="the task's type in the metadata, as the hub names it")
    card.add_argument("--certificate", type=Path, metavar="FILE", help="the certificate that proves the bound")
    card.add_argument("--part", choices=("both", "metadata", "section"), default="both", help="what to print")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0: gate passed or none given, 1: failed, 2: inconclusive, 3: error, whatever it is."""
    options = parser().parse_args(arguments)
    try:
        return _run(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (Refused, Unexpected, httpx.HTTPError, OSError, ValueError) as error:
        sys.stderr.write(f"lipserve-client: {_plain(str(error))}\n")
    return ERROR


def _run(options: argparse.Namespace) -> int:
    return _tell(options) if options.command == "card" else _ask(options)


def _tell(options: argparse.Namespace) -> int:
    document = json.loads(options.result.read_text("utf-8"))
    if not isinstance(document, dict):
        raise ValueError(f"{options.result} holds no result")
    proof = None if options.certificate is None else options.certificate.read_bytes()
    card = Card.of(document, options.name, options.task, proof)
    parts = {"metadata": card.metadata(), "section": card.section()}
    sys.stdout.write("\n".join(parts[name] for name in parts if options.part in ("both", name)))
    return 0


def _ask(options: argparse.Namespace) -> int:
    if not options.url:
        raise ValueError("no service is named: --url, or LIPSERVE_URL")
    with Client(options.url, os.environ.get("LIPSERVE_KEY")) as client:
        request = _request(options, client)
        if options.command == "compare":
            job = client.compare(*options.models, request)
        else:
            job = client.analyze(*options.models, request, name=options.name, version=options.version)
            if options.certificate is not None and job.result is not None:
                options.certificate.write_text(json.dumps(client.certificate(job.id)))
    if job.result is None:
        raise ValueError(f"the job {job.id} {job.status}: {job.error.detail if job.error else 'no result'}")
    if request.get("gate") and job.verdict is None:
        raise ValueError("the answer to the gate is no verdict")
    text = job.result.model_dump_json(exclude_unset=True, indent=2) if options.json else _summary(job)
    sys.stdout.write(text + "\n")
    return OF_VERDICT[job.verdict]


def _request(options: argparse.Namespace, client: Client) -> dict[str, Any]:
    given = options.request
    fields = json.loads(Path(given[1:]).read_text() if given.startswith("@") else given)
    if not isinstance(fields, dict):
        raise ValueError("--request is not a JSON object")
    fields |= {"norm": options.norm} if options.norm else {}
    fields |= {"budget_s": options.budget} if options.budget else {}
    if options.box:
        fields["domain"] = {"kind": "box", "lower": options.box[0], "upper": options.box[1]}
    if options.dataset:
        fields["dataset"] = client.upload_dataset(options.dataset)
    if getattr(options, "methods", None):
        fields["methods"] = "auto" if options.methods == "auto" else options.methods.split(",")
    limits = {name: getattr(options, name) for name in LIMITS[options.command] if getattr(options, name) is not None}
    if getattr(options, "baseline", None):
        limits["baseline"] = client.upload(options.baseline)
    return fields | ({"gate": {**fields.get("gate", {}), **limits}} if limits else {})


def _summary(job: Job) -> str:
    result = job.result
    assert result is not None
    lower, upper = ("-" if end is None else f"{end:.10g}" for end in result.ends)
    if isinstance(result, ComparisonView):
        line = "identical functions" if result.identical else f"{lower} <= largest difference <= {upper}"
    else:
        line = f"{lower} <= Lipschitz constant <= {upper}"
        if result.offset is not None:
            e = "inf" if result.offset.value is None else repr(result.offset.value)
            line = f"|f(x) - f(y)| <= {upper} |x - y| + {e}, rounding as noise"
    return f"{line} ({norm_words(result.norm)})" + (f"\ngate: {job.verdict}" if job.verdict else "")


def _plain(text: str) -> str:
    """Without characters that a terminal obeys."""
    return "".join(one if one.isprintable() else "\ufffd" for one in text)

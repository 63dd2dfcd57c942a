"""The certificate as a file: plain JSON, checked entry by entry when it is read, because it may come from anyone."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

from app.lipschitz.certificate.fields import (
    InvalidCertificate,
    choice,
    entries,
    function,
    integer,
    mapping,
    number,
    numbers,
    text,
)

FORMAT = "lipserve-certificate"
VERSION = 1
MOST_PIECES = 100_000


@dataclass(frozen=True)
class ActivationRecord:
    """The neurons of the activation at position `node`: slopes and multipliers, one number each."""

    node: int
    lower: list[float]
    upper: list[float]
    multipliers: list[float]


@dataclass(frozen=True)
class NormRecord:
    """The linear map from the node at `source` to the node at `node` has a norm of `norm` at most."""

    node: int
    source: int
    norm: float


@dataclass(frozen=True)
class PieceRecord:
    """`constant` bounds the map from the node at `start` to the node at `end`.

    `kind` is "lipsdp" (`rho` and `activations` prove it), "autolip" (the norms prove it) or "recomputed" (the
    service's own code has to be trusted).
    """

    kind: str
    start: int
    end: int
    constant: float
    rho: float | None = None
    activations: list[ActivationRecord] = field(default_factory=list)
    norms: list[NormRecord] = field(default_factory=list)


@dataclass(frozen=True)
class NodeRecord:
    """A node of the network, so that a reader can follow."""

    kind: str
    name: str
    size: int


@dataclass(frozen=True)
class Certificate:
    """`bound` is at least the Lipschitz constant of the function that `function` selects from the model."""

    sha256: str
    function: dict[str, Any]
    engine: str
    method: str
    bound: float
    nodes: list[NodeRecord]
    pieces: list[PieceRecord]

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        plain = asdict(self)
        model = {"sha256": plain.pop("sha256")}
        return {"format": FORMAT, "version": VERSION, "model": model} | plain

    @classmethod
    def parse(cls, found: Any) -> Certificate:
        """From JSON; InvalidCertificate names the first field that is wrong."""
        found = mapping(found, "the certificate")
        choice(found.get("format"), (FORMAT,), "format")
        if integer(found.get("version"), "version") != VERSION:
            raise InvalidCertificate(f"version {found['version']} is not known: this is version {VERSION}")
        return cls(
            text(mapping(found.get("model"), "model").get("sha256"), "model.sha256"),
            function(found.get("function")),
            text(found.get("engine"), "engine"),
            text(found.get("method"), "method"),
            number(found.get("bound"), "bound"),
            [_node(one) for one in entries(found.get("nodes"), "nodes", MOST_PIECES)],
            [_piece(one) for one in entries(found.get("pieces"), "pieces", MOST_PIECES)],
        )


def read(data: bytes) -> Certificate:
    """A certificate from a file's bytes; InvalidCertificate for anything else."""
    try:
        found = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidCertificate(f"the certificate is no JSON: {error}") from error
    return Certificate.parse(found)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _node(found: Any) -> NodeRecord:
    found = mapping(found, "nodes[]")
    name = found.get("name")
    return NodeRecord(
        text(found.get("kind"), "nodes[].kind"),
        name if isinstance(name, str) else text(name, "nodes[].name"),
        integer(found.get("size"), "nodes[].size"),
    )


def _piece(found: Any) -> PieceRecord:
    found = mapping(found, "pieces[]")
    kind = choice(found.get("kind"), ("lipsdp", "autolip", "recomputed"), "pieces[].kind")
    return PieceRecord(
        kind,
        integer(found.get("start"), "pieces[].start"),
        integer(found.get("end"), "pieces[].end"),
        number(found.get("constant"), "pieces[].constant"),
        number(found.get("rho"), "pieces[].rho") if kind == "lipsdp" else None,
        [_activation(one) for one in entries(found.get("activations", []), "pieces[].activations", MOST_PIECES)],
        [_norm(one) for one in entries(found.get("norms", []), "pieces[].norms", MOST_PIECES)],
    )


def _activation(found: Any) -> ActivationRecord:
    found = mapping(found, "activations[]")
    return ActivationRecord(
        integer(found.get("node"), "activations[].node"),
        numbers(found.get("lower"), "activations[].lower", least=-math.inf),
        numbers(found.get("upper"), "activations[].upper", least=-math.inf),
        numbers(found.get("multipliers"), "activations[].multipliers", least=0.0),
    )


def _norm(found: Any) -> NormRecord:
    found = mapping(found, "norms[]")
    return NormRecord(
        integer(found.get("node"), "norms[].node"),
        integer(found.get("source"), "norms[].source"),
        number(found.get("norm"), "norms[].norm"),
    )

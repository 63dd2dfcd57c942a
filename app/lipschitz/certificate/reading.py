"""A certificate out of a file: JSON, checked entry by entry, because it may come from anyone."""

from __future__ import annotations

import json
import math
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
from app.lipschitz.certificate.record import (
    FORMAT,
    KINDS,
    READABLE,
    VERSION,
    ActivationRecord,
    Certificate,
    ChainRecord,
    FaceRecord,
    MapRecord,
    NodeRecord,
    NormRecord,
    PairRecord,
    PieceRecord,
    Reported,
)

MOST_PIECES = 100_000


def read(data: bytes) -> Certificate:
    """A certificate from a file's bytes; InvalidCertificate for anything else."""
    try:
        found = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidCertificate(f"the certificate is no JSON: {error}") from error
    return parsed(found)


def parsed(found: Any) -> Certificate:
    """From JSON; InvalidCertificate names the first field that is wrong."""
    found = mapping(found, "the certificate")
    choice(found.get("format"), (FORMAT,), "format")
    if integer(found.get("version"), "version") not in READABLE:
        raise InvalidCertificate(f"version {found['version']} is not known: this is version {VERSION}")
    return Certificate(
        text(mapping(found.get("model"), "model").get("sha256"), "model.sha256"),
        function(found.get("function")),
        text(found.get("engine"), "engine"),
        text(found.get("method"), "method"),
        number(found.get("bound"), "bound"),
        [_node(one) for one in entries(found.get("nodes"), "nodes", MOST_PIECES)],
        [_piece(one) for one in entries(found.get("pieces"), "pieces", MOST_PIECES)],
        _reported(found.get("reported")),
    )


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
    kind = choice(found.get("kind"), KINDS, "pieces[].kind")
    return PieceRecord(
        kind,
        integer(found.get("start"), "pieces[].start"),
        integer(found.get("end"), "pieces[].end"),
        number(found.get("constant"), "pieces[].constant"),
        number(found.get("rho"), "pieces[].rho") if kind in ("lipsdp", "fourier") else None,
        [_activation(one) for one in entries(found.get("activations", []), "pieces[].activations", MOST_PIECES)],
        [_norm(one) for one in entries(found.get("norms", []), "pieces[].norms", MOST_PIECES)],
        [_chain(one) for one in entries(found.get("chains", []), "pieces[].chains", MOST_PIECES)],
        [integer(one, "pieces[].torus[]") for one in entries(found.get("torus", []), "pieces[].torus", 3)],
        [_map(one) for one in entries(found.get("maps", []), "pieces[].maps", MOST_PIECES)],
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


def _chain(found: Any) -> ChainRecord:
    found = mapping(found, "chains[]")
    return ChainRecord(
        integer(found.get("node"), "chains[].node"),
        integer(found.get("source"), "chains[].source"),
        [_pair(one) for one in entries(found.get("pairs"), "chains[].pairs", MOST_PIECES)],
    )


def _pair(found: Any) -> PairRecord:
    found = mapping(found, "pairs[]")
    return PairRecord(
        integer(found.get("node"), "pairs[].node"),
        number(found.get("constant"), "pairs[].constant"),
        numbers(found.get("lower"), "pairs[].lower", least=-math.inf),
        numbers(found.get("upper"), "pairs[].upper", least=-math.inf),
        [_face(one) for one in entries(found.get("faces"), "pairs[].faces", MOST_PIECES)],
    )


def _face(found: Any) -> FaceRecord:
    found = mapping(found, "faces[]")
    split, multipliers = found.get("split"), found.get("multipliers")
    if split is not None and multipliers is not None:
        raise InvalidCertificate("a face that is split has no multipliers of its own")
    return FaceRecord(
        None if split is None else integer(split, "faces[].split"),
        None if multipliers is None else numbers(multipliers, "faces[].multipliers", least=0.0),
    )


def _map(found: Any) -> MapRecord:
    found = mapping(found, "maps[]")
    return MapRecord(
        numbers(found.get("lower"), "maps[].lower", least=-math.inf),
        numbers(found.get("upper"), "maps[].upper", least=-math.inf),
        numbers(found.get("multipliers"), "maps[].multipliers", least=0.0),
    )


def _reported(found: Any) -> Reported | None:
    if found is None:
        return None
    found = mapping(found, "reported")
    return Reported(text(found.get("method"), "reported.method"), number(found.get("value"), "reported.value"))

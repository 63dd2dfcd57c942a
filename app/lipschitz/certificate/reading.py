"""A certificate out of a file: JSON, checked entry by entry, because it may come from anyone."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any

from app.contract.methods import METHODS
from app.contract.plain import Json
from app.lipschitz.certificate.fields import (
    InvalidCertificate,
    choice,
    entries,
    integer,
    mapping,
    number,
    numbers,
    shown,
    text,
    whole,
)
from app.lipschitz.certificate.function import function
from app.lipschitz.certificate.record import (
    FORMAT,
    KINDS,
    READABLE,
    VERSION,
    ActivationRecord,
    Certificate,
    ChainRecord,
    FaceRecord,
    LineRecord,
    MapRecord,
    NodeRecord,
    NormRecord,
    PairRecord,
    PieceRecord,
    ProgramRecord,
    RangeRecord,
    Reported,
)
from app.lipschitz.claims import PhaseRecord

MOST_PIECES = 100_000
CERTIFIED = tuple(method.name for method in METHODS if method.guarantee == "certified")

MOST_BYTES = 2**26
MOST_CONTAINERS = 2**20
"""Objects and lists in a file: empty ones take thirty times the memory that they take there."""

COMMON = {"kind", "start", "end", "constant"}
OF_KIND = {
    "lipsdp": {"rho", "activations"},
    "rows": {"activations", "programs"},
    "fourier": {"rho", "torus", "maps"},
    "autolip": {"norms"},
    "seqlip": {"norms", "chains"},
    "phases": {"tree"},
    "recomputed": set[str](),
}
"""What proves a piece of each kind; anything else there would prove nothing."""


def read(data: bytes) -> Certificate:
    """A certificate from a file's bytes; InvalidCertificate for anything else."""
    if len(data) > MOST_BYTES or data.count(b"{") + data.count(b"[") > MOST_CONTAINERS:
        raise InvalidCertificate(f"the certificate is too large: {len(data)} bytes")
    try:
        found = json.loads(data, parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InvalidCertificate(f"the certificate is no JSON: {str(error)!a}") from error
    return parsed(found)


def parsed(found: Any) -> Certificate:
    """From JSON; InvalidCertificate names the first field that is wrong."""
    found = mapping(found, "the certificate", {"format", "version", "model", *_names(Certificate)} - {"sha256"})
    choice(found.get("format"), (FORMAT,), "format")
    if integer(found.get("version"), "version") not in READABLE:
        raise InvalidCertificate(f"version {found['version']} is not known: this is version {VERSION}")
    return Certificate(
        _digest(whole(found.get("model"), "model", ("sha256",))["sha256"]),
        function(found.get("function")),
        text(found.get("engine"), "engine"),
        choice(found.get("method"), CERTIFIED, "method"),
        number(found.get("bound"), "bound"),
        [_node(one) for one in entries(found.get("nodes"), "nodes", MOST_PIECES)],
        [_piece(one) for one in entries(found.get("pieces"), "pieces", MOST_PIECES)],
        _reported(found.get("reported")),
        [_range(one) for one in entries(found.get("ranges", []), "ranges", MOST_PIECES)],
        [_line(one) for one in entries(found.get("lines", []), "lines", MOST_PIECES)],
    )


def _names(record: type[Any]) -> set[str]:
    return {field.name for field in fields(record)}


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _once(pairs: list[tuple[str, Any]]) -> Json:
    """An object; readers differ in which of two fields of one name counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has two fields of one name")
    return found


def _digest(found: Any) -> str:
    if not (isinstance(found, str) and re.fullmatch("[0-9a-f]{64}", found)):
        raise InvalidCertificate(f"model.sha256 must be 64 hexadecimal digits, not {shown(found)}")
    return found


def _node(found: Any) -> NodeRecord:
    found = mapping(found, "nodes[]", _names(NodeRecord))
    return NodeRecord(
        text(found.get("kind"), "nodes[].kind"),
        text(found.get("name"), "nodes[].name"),
        integer(found.get("size"), "nodes[].size"),
    )


def _piece(found: Any) -> PieceRecord:
    found = mapping(found, "pieces[]", _names(PieceRecord))
    kind = choice(found.get("kind"), KINDS, "pieces[].kind")
    for key in sorted(found.keys() - OF_KIND[kind] - COMMON):
        if found[key] not in (None, []):
            raise InvalidCertificate(f"a piece of kind {kind} has no {key}")
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
        [_phase(one) for one in entries(found.get("tree", []), "pieces[].tree", MOST_PIECES)],
        [_program(one) for one in entries(found.get("programs", []), "pieces[].programs", MOST_PIECES)],
    )


def _activation(found: Any) -> ActivationRecord:
    found = mapping(found, "activations[]", _names(ActivationRecord))
    return ActivationRecord(
        integer(found.get("node"), "activations[].node"),
        numbers(found.get("lower"), "activations[].lower"),
        numbers(found.get("upper"), "activations[].upper"),
        numbers(found.get("multipliers"), "activations[].multipliers", 0.0),
    )


def _norm(found: Any) -> NormRecord:
    found = mapping(found, "norms[]", _names(NormRecord))
    return NormRecord(
        integer(found.get("node"), "norms[].node"),
        integer(found.get("source"), "norms[].source"),
        number(found.get("norm"), "norms[].norm"),
    )


def _chain(found: Any) -> ChainRecord:
    found = mapping(found, "chains[]", _names(ChainRecord))
    return ChainRecord(
        integer(found.get("node"), "chains[].node"),
        integer(found.get("source"), "chains[].source"),
        [_pair(one) for one in entries(found.get("pairs"), "chains[].pairs", MOST_PIECES)],
    )


def _pair(found: Any) -> PairRecord:
    found = mapping(found, "pairs[]", _names(PairRecord))
    return PairRecord(
        integer(found.get("node"), "pairs[].node"),
        number(found.get("constant"), "pairs[].constant"),
        numbers(found.get("lower"), "pairs[].lower"),
        numbers(found.get("upper"), "pairs[].upper"),
        [_face(one) for one in entries(found.get("faces"), "pairs[].faces", MOST_PIECES)],
    )


def _face(found: Any) -> FaceRecord:
    found = mapping(found, "faces[]", _names(FaceRecord))
    split, multipliers = found.get("split"), found.get("multipliers")
    if split is not None and multipliers is not None:
        raise InvalidCertificate("a face that is split has no multipliers of its own")
    return FaceRecord(
        None if split is None else integer(split, "faces[].split"),
        None if multipliers is None else numbers(multipliers, "faces[].multipliers", 0.0),
    )


def _phase(found: Any) -> PhaseRecord:
    found = mapping(found, "tree[]", _names(PhaseRecord))
    if len([key for key in found if found[key] is not None]) > 1:
        raise InvalidCertificate("a node of a tree is split, or empty by its rows, or bounded by its multipliers")
    split, rows, multipliers = found.get("split"), found.get("rows"), found.get("multipliers")
    return PhaseRecord(
        None if split is None else integer(split, "tree[].split"),
        None if rows is None else [integer(one, "tree[].rows[]") for one in entries(rows, "tree[].rows")],
        None if multipliers is None else numbers(multipliers, "tree[].multipliers", 0.0),
    )


def _program(found: Any) -> ProgramRecord:
    found = mapping(found, "programs[]", _names(ProgramRecord))
    lists = entries(found.get("multipliers"), "programs[].multipliers", MOST_PIECES)
    return ProgramRecord(
        [integer(one, "programs[].rows[]") for one in entries(found.get("rows"), "programs[].rows")],
        numbers(found.get("weights"), "programs[].weights", 0.0),
        [numbers(one, "programs[].multipliers[]", 0.0) for one in lists],
    )


def _map(found: Any) -> MapRecord:
    found = mapping(found, "maps[]", _names(MapRecord))
    return MapRecord(
        numbers(found.get("lower"), "maps[].lower"),
        numbers(found.get("upper"), "maps[].upper"),
        numbers(found.get("multipliers"), "maps[].multipliers", 0.0),
    )


def _range(found: Any) -> RangeRecord:
    found = mapping(found, "ranges[]", _names(RangeRecord))
    return RangeRecord(
        integer(found.get("node"), "ranges[].node"),
        [integer(one, "ranges[].positions[]") for one in entries(found.get("positions"), "ranges[].positions")],
        numbers(found.get("lower"), "ranges[].lower"),
        numbers(found.get("upper"), "ranges[].upper"),
    )


def _line(found: Any) -> LineRecord:
    found = mapping(found, "lines[]", _names(LineRecord))
    return LineRecord(
        integer(found.get("node"), "lines[].node"),
        numbers(found.get("below"), "lines[].below"),
        numbers(found.get("above"), "lines[].above"),
    )


def _reported(found: Any) -> Reported | None:
    if found is None:
        return None
    found = mapping(found, "reported", _names(Reported))
    return Reported(
        choice(found.get("method"), CERTIFIED, "reported.method"), number(found.get("value"), "reported.value")
    )

"""A certificate out of a file: JSON, checked entry by entry, because it may come from anyone."""

from __future__ import annotations

import json
import re
from typing import Any

from ...contract.methods import METHODS
from ...contract.plain import Json
from ..claims import PhaseRecord
from .fields import (
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
from .function import function, norms
from .read_ranges import MOST_PIECES, choice_, line_, names, range_
from .record import (
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
    ProgramRecord,
    Reported,
)

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
        document = json.loads(data, parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InvalidCertificate(f"the certificate is no JSON: {str(error)!a}") from error
    return parsed(document)


def parsed(given: Any) -> Certificate:
    """From JSON; InvalidCertificate names the first field that is wrong."""
    given = mapping(given, "the certificate", {"format", "version", "model", *names(Certificate)} - {"sha256"})
    choice(given.get("format"), (FORMAT,), "format")
    if integer(given.get("version"), "version") not in READABLE:
        raise InvalidCertificate(f"version {given['version']} is not known: this is version {VERSION}")
    return Certificate(
        _digest(whole(given.get("model"), "model", ("sha256",))["sha256"]),
        function(given.get("function")),
        text(given.get("engine"), "engine"),
        choice(given.get("method"), CERTIFIED, "method"),
        number(given.get("bound"), "bound"),
        [_node(one) for one in entries(given.get("nodes"), "nodes", MOST_PIECES)],
        [_piece(one) for one in entries(given.get("pieces"), "pieces", MOST_PIECES)],
        _reported(given.get("reported")),
        [range_(one) for one in entries(given.get("ranges", []), "ranges", MOST_PIECES)],
        [line_(one) for one in entries(given.get("lines", []), "lines", MOST_PIECES)],
        [choice_(one) for one in entries(given.get("choices", []), "choices", MOST_PIECES)],
        norms(given["through"], "through") if "through" in given else None,
    )


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _once(pairs: list[tuple[str, Any]]) -> Json:
    """An object; readers differ in which of two fields of one name counts."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("an object has two fields of one name")
    return fields


def _digest(given: Any) -> str:
    if not (isinstance(given, str) and re.fullmatch("[0-9a-f]{64}", given)):
        raise InvalidCertificate(f"model.sha256 must be 64 hexadecimal digits, not {shown(given)}")
    return given


def _node(given: Any) -> NodeRecord:
    given = mapping(given, "nodes[]", names(NodeRecord))
    return NodeRecord(
        text(given.get("kind"), "nodes[].kind"),
        text(given.get("name"), "nodes[].name"),
        integer(given.get("size"), "nodes[].size"),
    )


def _piece(given: Any) -> PieceRecord:
    given = mapping(given, "pieces[]", names(PieceRecord))
    kind = choice(given.get("kind"), KINDS, "pieces[].kind")
    for key in sorted(given.keys() - OF_KIND[kind] - COMMON):
        if given[key] not in (None, []):
            raise InvalidCertificate(f"a piece of kind {kind} has no {key}")
    return PieceRecord(
        kind,
        integer(given.get("start"), "pieces[].start"),
        integer(given.get("end"), "pieces[].end"),
        number(given.get("constant"), "pieces[].constant"),
        number(given.get("rho"), "pieces[].rho") if kind in ("lipsdp", "fourier") else None,
        [_activation(one) for one in entries(given.get("activations", []), "pieces[].activations", MOST_PIECES)],
        [_norm(one) for one in entries(given.get("norms", []), "pieces[].norms", MOST_PIECES)],
        [_chain(one) for one in entries(given.get("chains", []), "pieces[].chains", MOST_PIECES)],
        [integer(one, "pieces[].torus[]") for one in entries(given.get("torus", []), "pieces[].torus", 3)],
        [_map(one) for one in entries(given.get("maps", []), "pieces[].maps", MOST_PIECES)],
        [_phase(one) for one in entries(given.get("tree", []), "pieces[].tree", MOST_PIECES)],
        [_program(one) for one in entries(given.get("programs", []), "pieces[].programs", MOST_PIECES)],
    )


def _activation(given: Any) -> ActivationRecord:
    given = mapping(given, "activations[]", names(ActivationRecord))
    return ActivationRecord(
        integer(given.get("node"), "activations[].node"),
        numbers(given.get("lower"), "activations[].lower"),
        numbers(given.get("upper"), "activations[].upper"),
        numbers(given.get("multipliers"), "activations[].multipliers", 0.0),
    )


def _norm(given: Any) -> NormRecord:
    given = mapping(given, "norms[]", names(NormRecord))
    return NormRecord(
        integer(given.get("node"), "norms[].node"),
        integer(given.get("source"), "norms[].source"),
        number(given.get("norm"), "norms[].norm"),
    )


def _chain(given: Any) -> ChainRecord:
    given = mapping(given, "chains[]", names(ChainRecord))
    return ChainRecord(
        integer(given.get("node"), "chains[].node"),
        integer(given.get("source"), "chains[].source"),
        [_pair(one) for one in entries(given.get("pairs"), "chains[].pairs", MOST_PIECES)],
    )


def _pair(given: Any) -> PairRecord:
    given = mapping(given, "pairs[]", names(PairRecord))
    return PairRecord(
        integer(given.get("node"), "pairs[].node"),
        number(given.get("constant"), "pairs[].constant"),
        numbers(given.get("lower"), "pairs[].lower"),
        numbers(given.get("upper"), "pairs[].upper"),
        [_face(one) for one in entries(given.get("faces"), "pairs[].faces", MOST_PIECES)],
    )


def _face(given: Any) -> FaceRecord:
    given = mapping(given, "faces[]", names(FaceRecord))
    split, multipliers = given.get("split"), given.get("multipliers")
    if split is not None and multipliers is not None:
        raise InvalidCertificate("a face that is split has no multipliers of its own")
    return FaceRecord(
        None if split is None else integer(split, "faces[].split"),
        None if multipliers is None else numbers(multipliers, "faces[].multipliers", 0.0),
    )


def _phase(given: Any) -> PhaseRecord:
    given = mapping(given, "tree[]", names(PhaseRecord))
    if len([key for key in given if given[key] is not None]) > 1:
        raise InvalidCertificate("a node of a tree is split, or empty by its rows, or bounded by its multipliers")
    split, rows, multipliers = given.get("split"), given.get("rows"), given.get("multipliers")
    return PhaseRecord(
        None if split is None else integer(split, "tree[].split"),
        None if rows is None else [integer(one, "tree[].rows[]") for one in entries(rows, "tree[].rows")],
        None if multipliers is None else numbers(multipliers, "tree[].multipliers", 0.0),
    )


def _program(given: Any) -> ProgramRecord:
    given = mapping(given, "programs[]", names(ProgramRecord))
    lists = entries(given.get("multipliers"), "programs[].multipliers", MOST_PIECES)
    return ProgramRecord(
        [integer(one, "programs[].rows[]") for one in entries(given.get("rows"), "programs[].rows")],
        numbers(given.get("weights"), "programs[].weights", 0.0),
        [numbers(one, "programs[].multipliers[]", 0.0) for one in lists],
    )


def _map(given: Any) -> MapRecord:
    given = mapping(given, "maps[]", names(MapRecord))
    return MapRecord(
        numbers(given.get("lower"), "maps[].lower"),
        numbers(given.get("upper"), "maps[].upper"),
        numbers(given.get("multipliers"), "maps[].multipliers", 0.0),
    )


def _reported(given: Any) -> Reported | None:
    if given is None:
        return None
    given = mapping(given, "reported", names(Reported))
    return Reported(
        choice(given.get("method"), CERTIFIED, "reported.method"), number(given.get("value"), "reported.value")
    )

"""What a certificate holds: plain records, written as JSON and read back by `reading`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from ...contract.plain import Json
from ..claims import PhaseRecord

FORMAT = "lipserve-certificate"
VERSION = 5
READABLE = (1, 2, 3, 4, 5)
"""Version 4 has no choices; version 3 has no rows, and no ranges but those of interval arithmetic; version 2 has no
phases; version 1 has no chains and no Fourier pieces either, and does not say what was reported.
"""
KINDS = ("lipsdp", "rows", "fourier", "autolip", "seqlip", "phases", "recomputed")


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
class FaceRecord:
    """A node of a tree of faces: split at the slope `split`, or a leaf with multipliers, or, with neither, a leaf whose
    vertices are all tried.
    """

    split: int | None = None
    multipliers: list[float] | None = None


@dataclass(frozen=True)
class PairRecord:
    """With slopes between `lower` and `upper` at the activation at `node`, the two factors around it have a product
    of norm `constant` at most; `faces` prove it.
    """

    node: int
    constant: float
    lower: list[float]
    upper: list[float]
    faces: list[FaceRecord]


@dataclass(frozen=True)
class ChainRecord:
    """The product of the pairs' constants, first to last, bounds what the node at `node` makes of the one before the
    chain through its term that reads the node at `source`, the last activation.
    """

    node: int
    source: int
    pairs: list[PairRecord]


@dataclass(frozen=True)
class MapRecord:
    """The map between two convolutions: slopes one a channel, multipliers one a channel and phase."""

    lower: list[float]
    upper: list[float]
    multipliers: list[float]


@dataclass(frozen=True)
class ProgramRecord:
    """`weights`, one an input, and `multipliers`, one list an activation, bound each of the outputs `rows`."""

    rows: list[int]
    weights: list[float]
    multipliers: list[list[float]]


@dataclass(frozen=True)
class PieceRecord:
    """`constant` bounds the map from the node at `start` to the node at `end`.

    `kind` is "lipsdp" (`rho` and `activations` prove it), "rows" (`activations` and `programs`), "fourier" (`rho`,
    `torus` and `maps`), "autolip" (the norms), "seqlip" (the norms and the chains), "phases" (the tree) or "recomputed"
    (the service's own code has to be trusted).
    """

    kind: str
    start: int
    end: int
    constant: float
    rho: float | None = None
    activations: list[ActivationRecord] = field(default_factory=list)
    norms: list[NormRecord] = field(default_factory=list)
    chains: list[ChainRecord] = field(default_factory=list)
    torus: list[int] = field(default_factory=list)
    maps: list[MapRecord] = field(default_factory=list)
    tree: list[PhaseRecord] = field(default_factory=list)
    programs: list[ProgramRecord] = field(default_factory=list)


@dataclass(frozen=True)
class RangeRecord:
    """Entries `positions` of the node at `node` lie between `lower` and `upper` on the domain."""

    node: int
    positions: list[int]
    lower: list[float]
    upper: list[float]


@dataclass(frozen=True)
class LineRecord:
    """Slopes of a line below and one above the activation at `node`, one each a neuron; ranges fix their offsets."""

    node: int
    below: list[float]
    above: list[float]


@dataclass(frozen=True)
class SlopeRecord:
    """Slopes of lines through the activation at `node`: row after row, one each of the neurons at `positions`."""

    node: int
    positions: list[int]
    slopes: list[float]


@dataclass(frozen=True)
class ChoiceRecord(RangeRecord):
    """Ends that need lines of their own: `slopes` have a row for every lower end, then one for every upper end."""

    slopes: list[SlopeRecord]


@dataclass(frozen=True)
class Reported:
    """The least upper bound of the job, and its method: less than the certificate's where that method has none."""

    method: str
    value: float


@dataclass(frozen=True)
class NodeRecord:
    """A node of the network, so that a reader can follow."""

    kind: str
    name: str
    size: int


@dataclass(frozen=True)
class Certificate:
    """`bound` is at least the Lipschitz constant of the function that `function` selects from the model.

    `method` is the one whose bound it is; `reported` is no claim and is not checked. `ranges`, `lines` and `choices`
    prove what the pieces use of a bounded domain. Where the function has a norm for each space, the pieces' constants
    are in the `input` and the `output` norm of `through`.
    """

    sha256: str
    function: Json
    engine: str
    method: str
    bound: float
    nodes: list[NodeRecord]
    pieces: list[PieceRecord]
    reported: Reported | None = None
    ranges: list[RangeRecord] = field(default_factory=list)
    lines: list[LineRecord] = field(default_factory=list)
    choices: list[ChoiceRecord] = field(default_factory=list)
    through: dict[str, str] | None = None

    def fields(self) -> Json:
        """As JSON."""
        plain = asdict(self)
        if plain["through"] is None:
            del plain["through"]
        model = {"sha256": plain.pop("sha256")}
        return {"format": FORMAT, "version": VERSION, "model": model} | plain

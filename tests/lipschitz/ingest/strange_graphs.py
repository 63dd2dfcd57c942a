"""Random small ONNX graphs that are valid and strange: ranks 0 to 6, sizes 1, steps and pads beyond the image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import NodeProto

from tests.lipschitz.ingest.onnx_models import node, onnx_bytes

SCALARS = ("Relu", "Tanh", "Sigmoid", "Abs", "Neg", "Softplus", "LeakyRelu", "Erf", "Atan", "Identity", "HardSwish")
PADS = ("constant", "edge", "reflect")


class Graph:
    """Nodes in a row, each reading the last one's output; the size of every value is known."""

    def __init__(self, seed: int) -> None:
        self.draw = np.random.default_rng(seed)
        self.shape = tuple(int(size) for size in self.draw.integers(1, 5, self.draw.integers(0, 7)))
        self.given = self.shape
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.steps: list[str] = []

    def pick(self, low: int, high: int, count: int | None = None) -> list[int]:
        """Integers from low to high, both included."""
        return [int(one) for one in self.draw.integers(low, high + 1, 1 if count is None else count)]

    def one(self, low: int, high: int) -> int:
        return self.pick(low, high)[0]

    def coin(self) -> bool:
        return bool(self.draw.random() < 0.5)

    def stored(self, value: object, dtype: str = "float32") -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype)
        return name

    def weights(self, *shape: int) -> str:
        return self.stored(self.draw.standard_normal(shape))

    @property
    def last(self) -> str:
        return f"v{len(self.nodes)}"

    def add(self, op: str, *operands: str, first: bool = True, **attributes: object) -> None:
        names = [self.last, *operands] if first else list(operands)
        self.nodes.append(node(op, names, [f"v{len(self.nodes) + 1}"], **attributes))
        self.steps.append(f"{op}{attributes or ''}")

    def reshape(self, *shape: int) -> None:
        self.add("Reshape", self.stored(shape, "int64"))
        self.shape = shape


def scalar(graph: Graph) -> None:
    graph.add(str(graph.draw.choice(SCALARS)))


def broadcast(graph: Graph) -> None:
    """Sizes 1 on either side, and ranks that differ."""
    shape = [1 if graph.coin() else size for size in graph.shape]
    shape = shape[graph.one(0, len(shape)) :] if graph.coin() else [1] * graph.one(0, 6 - len(shape)) + shape
    opposite = ((1,) * 6 + graph.shape)[6 + len(graph.shape) - len(shape) :]
    shape = [2 if a == b == 1 and graph.coin() else a for a, b in zip(shape, opposite, strict=True)]
    graph.add(str(graph.draw.choice(["Add", "Mul", "Sub"])), graph.weights(*shape))
    graph.shape = np.broadcast_shapes(graph.shape, tuple(shape))


def reshape(graph: Graph) -> None:
    """The entries in another number of dimensions, sizes 1 between; none of them where there is one entry."""
    size, shape = int(np.prod(graph.shape)), []
    for factor in (2, 3, 4):
        if size % factor == 0 and graph.coin():
            shape.append(factor)
            size //= factor
    shape += [size] if size > 1 or graph.coin() else []
    for _ in range(graph.one(0, 6 - len(shape))):
        shape.insert(graph.one(0, len(shape)), 1)
    graph.reshape(*shape)


def transpose(graph: Graph) -> None:
    order = [int(axis) for axis in graph.draw.permutation(len(graph.shape))]
    graph.add("Transpose", perm=order) if order else graph.add("Transpose")
    graph.shape = tuple(graph.shape[axis] for axis in order)


def cut(graph: Graph) -> None:
    """Negative steps, and ends far outside."""
    if not graph.shape:
        return
    axis = graph.one(0, len(graph.shape) - 1)
    size, step = graph.shape[axis], int(graph.draw.choice([-7, -2, -1, 1, 2, 100]))
    begin, end = (size + 3, -(2**40)) if step < 0 else (-size - 5, 2**40)
    names = [graph.stored([value], "int64") for value in (begin, end, axis - len(graph.shape), step)]
    graph.add("Slice", *names)
    length = len(range(size)[::step])
    graph.shape = (*graph.shape[:axis], length, *graph.shape[axis + 1 :])


def concat(graph: Graph) -> None:
    """Beside parts without entries, or itself."""
    if not graph.shape:
        return
    axis = graph.one(0, len(graph.shape) - 1)
    here = graph.last
    parts = [(0, graph.weights(*graph.shape[:axis], 0, *graph.shape[axis + 1 :])) for _ in range(graph.one(0, 2))]
    parts += [(graph.shape[axis], here) for _ in range(graph.one(1, 2))]
    order = [parts[place] for place in graph.draw.permutation(len(parts))]
    graph.add("Concat", *[name for _, name in order], first=False, axis=axis)
    graph.shape = (*graph.shape[:axis], sum(size for size, _ in order), *graph.shape[axis + 1 :])


def pad(graph: Graph) -> None:
    rank = len(graph.shape)
    if not rank:
        return
    mode = str(graph.draw.choice(PADS))
    most = [size - 1 if mode == "reflect" else 4 for size in graph.shape] * 2
    amounts = [graph.one(0, limit) if graph.draw.random() < 0.3 else 0 for limit in most]
    graph.add("Pad", graph.stored(amounts, "int64"), mode=mode)
    graph.shape = tuple(size + amounts[i] + amounts[i + rank] for i, size in enumerate(graph.shape))


def reduce(graph: Graph) -> None:
    op = str(graph.draw.choice(["ReduceMean", "ReduceMax", "ReduceSum", "ReduceMin"]))
    keep = graph.coin()
    graph.add(op, keepdims=int(keep))
    graph.shape = (1,) * len(graph.shape) if keep else ()


def spread(graph: Graph) -> None:
    shape = [size if size > 1 else graph.one(1, 3) for size in graph.shape]
    graph.add("Expand", graph.stored(shape, "int64"))
    graph.shape = tuple(shape)


def gather(graph: Graph) -> None:
    """One entry, repeated ones, or counted from the end; a single index takes the dimension away."""
    if not graph.shape:
        return
    axis = graph.one(0, len(graph.shape) - 1)
    size, count = graph.shape[axis], graph.one(0, 3)
    chosen = graph.pick(-size, size - 1, count) if count else graph.one(-size, size - 1)
    graph.add("Gather", graph.stored(chosen, "int64"), axis=axis)
    graph.shape = (*graph.shape[:axis], *([count] if count else []), *graph.shape[axis + 1 :])


def normal(graph: Graph) -> None:
    op = str(graph.draw.choice(["Softmax", "LogSoftmax", "LayerNormalization"]))
    if graph.shape:
        graph.add(op, *([graph.weights(graph.shape[-1])] if op == "LayerNormalization" else []), axis=-1)


def product(graph: Graph) -> None:
    """A matrix on either side; vectors too."""
    if not graph.shape:
        return
    wide = graph.one(1, 3)
    vector = graph.coin()
    graph.add("MatMul", graph.weights(*([graph.shape[-1]] if vector else [graph.shape[-1], wide])))
    graph.shape = graph.shape[:-1] if vector else (*graph.shape[:-1], wide)


def image(graph: Graph) -> tuple[int, int]:
    """Make it an image of one to three dimensions: its channels, and how many."""
    size = int(np.prod(graph.shape))
    channels = next((factor for factor in (4, 3, 2) if size % factor == 0), 1)
    dims = graph.one(1, 3)
    graph.reshape(1, channels, *[1] * (dims - 1), size // channels)
    if graph.coin():
        order = [0, 1, *(2 + int(axis) for axis in graph.draw.permutation(dims))]
        graph.add("Transpose", perm=order)
        graph.shape = tuple(graph.shape[axis] for axis in order)
    return channels, dims


def window(graph: Graph, dims: int, kernel: list[int], pads: bool = True) -> dict[str, object]:
    """Strides, dilations and pads, large ones as well."""
    far = graph.draw.random() < 0.3
    words: dict[str, object] = {"strides": graph.pick(1, 50 if far else 2, dims)}
    if graph.coin():
        words["auto_pad"] = str(graph.draw.choice(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    elif pads:
        words["pads"] = [graph.one(0, size - 1) for size in kernel * 2]
    return words


def convolution(graph: Graph) -> None:
    """Kernels larger than the image, groups as many as channels."""
    channels, dims = image(graph)
    groups, kernel = (channels if graph.coin() else 1), graph.pick(1, 4, dims)
    words = window(graph, dims, kernel)
    if "auto_pad" not in words:
        words["dilations"] = graph.pick(1, 3, dims)
        words["pads"] = [graph.one(0, 12) if graph.coin() else 6 for _ in range(2 * dims)]
    if graph.draw.random() < 0.3:
        transposed(graph, channels, groups, kernel)
        return
    outs = groups * graph.one(1, 2)
    graph.add("Conv", graph.weights(outs, channels // groups, *kernel), group=groups, **words)
    graph.shape = (-1,)


def transposed(graph: Graph, channels: int, groups: int, kernel: list[int]) -> None:
    strides = graph.pick(1, 3, len(kernel))
    words: dict[str, object] = {"strides": strides, "dilations": graph.pick(1, 2, len(kernel))}
    if graph.coin():
        words["output_padding"] = [graph.one(0, stride - 1) for stride in strides]
    graph.add("ConvTranspose", graph.weights(channels, graph.one(1, 2), *kernel), group=groups, **words)
    graph.shape = (-1,)


def pooling(graph: Graph) -> None:
    _, dims = image(graph)
    kernel = graph.pick(1, 5, dims)
    op = str(graph.draw.choice(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"]))
    if op.startswith("Global"):
        graph.add(op)
    else:
        words = window(graph, dims, kernel) | {"kernel_shape": kernel, "ceil_mode": int(graph.coin())}
        if op == "AveragePool":
            words["count_include_pad"] = int(graph.coin())
        graph.add(op, **words)
    graph.shape = (-1,)


STEPS: tuple[Callable[[Graph], None], ...] = (
    scalar, scalar, broadcast, broadcast, reshape, transpose, cut, concat, pad, reduce, spread, gather, normal,
    product,
)  # fmt: skip
LAST = (convolution, pooling, scalar, product, None)


def strange(seed: int) -> tuple[bytes, str]:
    """A model, and what it is made of; not all are valid, as a window may not fit."""
    graph = Graph(seed)
    for place in graph.draw.integers(0, len(STEPS), graph.one(1, 4)):
        if int(np.prod(graph.shape)) <= 200:
            STEPS[place](graph)
    last = LAST[graph.one(0, len(LAST) - 1)]
    if last is not None:
        last(graph)
    if graph.coin() or not graph.nodes:
        graph.add("Relu")
    graph.add("Identity")
    model = onnx_bytes(graph.nodes, {"v0": graph.given}, [graph.last], graph.constants)
    return model, f"{list(graph.given)} " + " ".join(graph.steps)

"""The commands behind docs/paper.md, on a network that takes no time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.networks import as_dataset, exported
from benchmarks.paper_networks import Case, cached, cnn, gaussian_process
from benchmarks.paper_table import HEADER, row, write


def small_case() -> Case:
    module = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)).double()
    return Case("", exported(module, (1, 2)), as_dataset(torch.randn(10, 2, dtype=torch.float64)), "untrained")


def test_a_network_is_made_once_and_its_row_has_every_column(tmp_path):
    case = cached(tmp_path / "nets", "small", small_case)
    assert cached(tmp_path / "nets", "small", lambda: pytest.fail("it was stored")) == case
    cells, reasons = row(case, ["autolip", "frobenius", "dataset"], budget=1.0)
    assert len(cells) == len(HEADER)
    assert cells[0] == "small"
    by_column = dict(zip(HEADER, cells, strict=True))
    assert float(by_column["data"]) <= float(by_column["AutoLip"]) <= float(by_column["Frobenius"])
    assert by_column["grid"] == "-"
    assert not reasons


def test_a_section_is_replaced_and_only_that(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- mlp -->\nold\n<!-- /mlp -->\nb\n")
    write(page, "mlp", r"new \1")
    assert page.read_text() == "a\n<!-- mlp -->\nnew \\1\n<!-- /mlp -->\nb\n"
    with pytest.raises(ValueError, match="cnn"):
        write(page, "cnn", "text")


@pytest.mark.parametrize(("layers", "side"), [(4, 28), (7, 28), (10, 8)])
def test_the_convolutional_networks_have_their_layers_and_ten_outputs(layers, side):
    module = cnn(layers, side)
    assert sum(isinstance(part, nn.Conv2d) for part in module) == layers
    assert module(torch.zeros(2, 1, side, side)).shape == (2, 10)


def test_the_process_has_unit_variance():
    x, y = gaussian_process()
    assert x.shape == (800, 2)
    assert 0.3 < float(y.var()) < 3.0

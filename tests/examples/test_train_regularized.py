"""The training example on scikit-learn's digits: the penalty lowers the certified bound."""

from __future__ import annotations

import pytest

from examples.train_regularized import main


@pytest.mark.slow
def test_the_penalty_lowers_the_bound(capsys):
    pytest.importorskip("sklearn")
    plain, penalised = main(["--quick", "--data", "/nowhere", "--weights", "0", "0.05"])
    assert "8 x 8" in capsys.readouterr().out
    for _, upper, lower in (plain, penalised):
        assert 0 < lower <= upper
    assert penalised[1] < 0.6 * plain[1]
    assert penalised[0] > plain[0] - 0.2

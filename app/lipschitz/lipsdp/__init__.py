"""The semidefinite bound LipSDP [F19]: its constraint, an interior-point solver that knows its structure, its proof."""

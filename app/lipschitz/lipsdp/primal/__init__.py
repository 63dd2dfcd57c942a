"""LipSDP from the primal side: trajectories through the network, for any graph, size and norm."""

"""Branch and bound over parts of a domain: phases of the neurons that are open there, and halves of boxes."""

"""The typed graph: affine blocks, activations with slopes, pooling, merges; and the operator rule table."""

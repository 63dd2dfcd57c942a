"""SeqLip [VS18]: pairs of neighbouring layers with the slopes between them."""

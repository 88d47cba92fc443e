"""Short stories that the real processes play, each ending with what it proved."""

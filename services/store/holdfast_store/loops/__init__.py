"""What the store does by the clock; each loop sleeps until something is due."""

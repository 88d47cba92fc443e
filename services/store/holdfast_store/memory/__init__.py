"""Promises in this process alone."""

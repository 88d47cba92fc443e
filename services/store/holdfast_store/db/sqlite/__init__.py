"""Promises in one SQLite file: one writer on a thread of its own, and readers beside it."""

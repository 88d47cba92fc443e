"""Whole databases: checked, written out as a file, and read into an empty database."""

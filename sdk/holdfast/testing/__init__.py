"""Tools for testing workflows and the runtime: crash points, and clocks turned by hand."""

"""What follows from a chart's values.yaml: its JSON schema and the table of its README."""

"""Grafana dashboards as code: one module each, and the builders that they share."""

"""The operator: scales the Deployments of worker groups by the work that waits in the store."""

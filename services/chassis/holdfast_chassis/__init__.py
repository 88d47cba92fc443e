"""What every process needs: settings, logs, metrics, health, shutdown. Knows no domain word."""

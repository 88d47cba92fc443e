"""The worker group that owns the application database."""

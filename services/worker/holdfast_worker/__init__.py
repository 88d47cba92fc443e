"""The runnable workflow worker."""

"""The `holdfast` command: runs, plays and inspects Holdfast on one machine."""

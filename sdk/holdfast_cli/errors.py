"""What a command may fail with on purpose; each message is one sentence for the person typing."""


class CommandFailed(Exception):
    """The command cannot do what it was asked; it exits 1."""


class UsageError(Exception):
    """What was typed makes no sense; nothing was started, and the command exits 2."""

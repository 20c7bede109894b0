"""What a command cannot do, told to its user without a traceback."""


class Failure(Exception):
    """One or two sentences: what went wrong, and what to do about it."""

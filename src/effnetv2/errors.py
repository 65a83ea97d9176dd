"""What the user gave cannot be used: one line says what, where, and what to do."""


class InputError(ValueError):
    """Bad input. The message is one line for a person; the command line exits with 2."""

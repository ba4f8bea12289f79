"""The error type whose text is written for users."""


class UserError(Exception):
    """A problem that a user can solve.

    The text says what was given and what to do about it. The app shows it as a message; the
    command line prints it as one line and ends with exit code 2.
    """

"""The one error type whose text is meant for the person in front of the screen."""


class UserError(Exception):
    """Something that a user can mend.

    The text says what was given and what to do about it. The app shows it as a message; the
    command line prints it as one line and ends with exit code 2.
    """

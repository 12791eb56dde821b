"""The exception for errors that the user can fix."""


class UserError(Exception):
    """An error in the input; the message is one line that says what is wrong and what to do.

    Programs print it without a traceback and exit with code 2, see `nha.core.system.run_script`.
    """

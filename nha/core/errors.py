"""The one exception that means "the user can fix this"."""


class UserError(Exception):
    """One line that says what is wrong with the input and what to do about it.

    Scripts print it without a traceback and exit with code 2 (see `nha.core.system.run_script`).
    """

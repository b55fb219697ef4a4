"""Checks that the configurations of mining share."""

from corpus.errors import UserError


def check_share(name: str, value: float) -> None:
    """Refuse what is not a share.

    Raises:
        UserError: If it is not in [0, 1].
    """
    if not 0 <= value <= 1:
        raise UserError(f"`{name}` is a share between 0 and 1, not {value}")


def check_positive(**values: float) -> None:
    """Refuse what is zero or less.

    Raises:
        UserError: Naming the first such value.
    """
    for name, value in values.items():
        if value <= 0:
            raise UserError(f"`{name}` must be above 0, not {value}")

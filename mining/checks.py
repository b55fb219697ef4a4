"""Checks that the configurations of mining share."""


def check_share(name: str, value: float) -> None:
    """Refuse what is not a share.

    Raises:
        ValueError: If it is not in [0, 1].
    """
    if not 0 <= value <= 1:
        raise ValueError(f"`{name}` is a share between 0 and 1, not {value}")


def check_positive(**values: float) -> None:
    """Refuse what is zero or less.

    Raises:
        ValueError: Naming the first such value.
    """
    for name, value in values.items():
        if value <= 0:
            raise ValueError(f"`{name}` must be above 0, not {value}")


def check_not_negative(**values: float) -> None:
    """Refuse what is below zero.

    Raises:
        ValueError: Naming the first such value.
    """
    for name, value in values.items():
        if value < 0:
            raise ValueError(f"`{name}` must not be negative, it is {value}")

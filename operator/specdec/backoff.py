"""How long to wait before what failed is tried again."""


def pause_seconds(failures: int, chance: float, *, first: float, longest: float) -> float:
    """After `failures` in a row: twice as long each time, up to `longest`; less by up to half by `chance`, the jitter.

    chance: uniform in [0, 1).
    """
    # Beyond 16 doublings no pause grows any more, but the power of two would.
    grown: float = min(first * 2 ** min(failures - 1, 16), longest)
    return grown * (0.5 + 0.5 * chance)

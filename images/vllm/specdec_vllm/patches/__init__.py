def in_place() -> bool:
    return False

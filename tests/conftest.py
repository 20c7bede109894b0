"""For all tiers: property tests have no deadline, because a busy machine is no defect."""

from hypothesis import settings

settings.register_profile("specdec", deadline=None)
settings.load_profile("specdec")

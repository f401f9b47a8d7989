"""What all tests share."""

from hypothesis import HealthCheck, settings

# A busy machine is no failure: no deadline for an example, none for making one.
settings.register_profile("everywhere", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("everywhere")

"""Settings of all tests."""

import os

from hypothesis import HealthCheck, settings

# No deadlines: machines are shared and noisy. The gate draws the same examples every time; people who run
# the tests draw new ones.
settings.register_profile("people", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("gate", settings.get_profile("people"), derandomize=True)
settings.load_profile("gate" if os.environ.get("CI") else "people")

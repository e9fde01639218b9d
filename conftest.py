"""Settings of the whole test session."""

pytest_plugins = ["ci_skips"]

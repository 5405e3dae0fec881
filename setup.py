"""Which folders are packages: all of `tricklint`, and `rules` as `tricklint.rules`. The rest is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["tricklint", "tricklint.*"]),
        *(f"tricklint.{package}" for package in find_packages(include=["rules", "rules.*"])),
    ],
    package_dir={"tricklint": "tricklint", "tricklint.rules": "rules"},
)

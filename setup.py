"""What pyproject.toml cannot say: the folder `app` is installed as the package `lipserve`."""

from setuptools import find_packages, setup

INSIDE = find_packages("app")

setup(package_dir={"lipserve": "app"}, packages=["lipserve", *(f"lipserve.{name}" for name in INSIDE)])

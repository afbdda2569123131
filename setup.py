"""What pyproject.toml cannot say: ``structures/`` is installed as ``atomflow/structures``."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[*find_namespace_packages(include=["atomflow*"]), "atomflow.structures"],
    package_dir={"atomflow.structures": "structures"},
)

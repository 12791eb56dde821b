"""Installs the command `optimize-tracking`. Install the project `nha` first."""

from setuptools import setup

setup(
    name="video-head-tracker",
    version="0.1.0",
    description="Tracks a head model in a monocular video",
    license="Apache-2.0",
    python_requires=">=3.10",
    py_modules=["optimize_tracking"],
    install_requires=["nha"],
    entry_points={"console_scripts": ["optimize-tracking=optimize_tracking:run"]},
)

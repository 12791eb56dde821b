"""Installs the package `nha`. The versions of a working environment are in requirements.lock."""

from setuptools import find_packages, setup

CORE = [
    "torch==2.13.0",
    "pytorch-lightning",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "numba",
    "av",
    "configargparse",
    "tensorboard",
    "torchmetrics",
    "tqdm",
    "pygltflib",
    "trimesh",
    "jinja2",
    "matplotlib",
]

EXTRAS = {
    # The last release that carries its models. Its declared pins (numpy < 2, jax, opencv-contrib) are
    # not needed: requirements.lock installs it without them, with the runtime parts that it does need.
    "mediapipe": ["mediapipe==0.10.21", "protobuf==4.25.9", "matplotlib", "attrs", "absl-py", "flatbuffers"],
    # Of the published annotators; requirements-published.lock says how they are installed.
    "face-alignment": ["face-alignment==1.5.0"],
    "onnx": ["onnxruntime"],
    "pytorch3d": ["pytorch3d==0.7.9"],
    "notebook": ["jupyterlab", "ipywidgets"],
    "viewer": ["viser>=1.1"],
    "dev": ["pytest", "pytest-xdist", "ruff", "import-linter", "nbclient", "ipykernel"],
}

setup(
    name="nha",
    version="0.1.0",
    description="Neural head avatars from monocular RGB videos",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["nha", "nha.*"]),
    package_data={"nha.head": ["descriptions/*.json"], "nha.core": ["templates/*.jinja"]},
    install_requires=CORE,
    extras_require=EXTRAS,
)

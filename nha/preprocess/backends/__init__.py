"""Implementations of the estimators; `nha.preprocess.registry` lists them."""

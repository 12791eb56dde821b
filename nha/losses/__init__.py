"""The loss terms: small pure functions that return named, unweighted scalars."""

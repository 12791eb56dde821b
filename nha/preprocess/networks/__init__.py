"""Networks of the published estimators, one file each; parameter names are those of the published weights."""

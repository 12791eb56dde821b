"""One small file an estimator; `nha.preprocess.packs` puts them together."""

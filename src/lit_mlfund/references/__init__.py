"""Fits the models that a run is compared with: constants, linear models, boosting, popularity, BM25, n-grams."""

"""Predictions -> numbers. Nothing here loads a model."""

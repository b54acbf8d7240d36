"""Arrays made into predictions: classifiers, training, decoding. Nothing is here yet."""

"""BentoML services that serve a bundle over the Open Inference Protocol."""

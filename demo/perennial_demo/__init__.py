"""The main job on real data: serve, canary, watch, retrain, promote."""

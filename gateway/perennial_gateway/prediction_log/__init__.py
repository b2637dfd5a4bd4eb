"""The prediction log of revisions whose own servers keep none: what Envoy hands over, on its way to the observer.

Imports run one way: `collector → sender → strangers → bodies → reading → exchanges`; `choosing` tells
the sample, `queue` holds what waits, and `strangers` what the observer can't place yet.
"""

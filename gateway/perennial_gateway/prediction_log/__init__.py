"""The prediction log of revisions whose own servers keep none: what Envoy hands over, on its way to the observer.

Imports run one way: `collector → sender → bodies → reading → exchanges`; `otlp` reads Envoy's bytes, `choosing` the sample,
and `queue` holds what waits.
"""

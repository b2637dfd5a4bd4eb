"""ModelDeployment: what to serve, how to replace it, what to watch, what to do when it decays.

One file per part of the spec; `resource` ties the parts together.
"""

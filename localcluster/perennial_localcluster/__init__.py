"""A real one-node Kubernetes on a bare Linux machine.

The demo and the end-to-end tests need a cluster on machines that have neither a
Docker engine nor an image registry. This package builds Kubernetes from pinned Go
modules, starts it as plain processes, loads images into it, and takes everything
away again. It uses a given cluster, or kind, where there is one.

Callers use :mod:`perennial_localcluster.cluster` (``up``, ``down``, ``status``) and
:mod:`perennial_localcluster.images` (``build``, ``load``); people use the
``perennial-localcluster`` command.
"""

"""The commands, one file each: words in, calls to the cluster, a view or JSON out."""

"""Where pilots run: a module per kind of cluster, one table. Only these import submitit."""

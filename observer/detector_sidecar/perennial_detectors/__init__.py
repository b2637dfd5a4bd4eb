"""alibi-detect behind a Unix socket: arrays in, statistics out, no database, no network, no secrets."""

"""Offline scoring: a Job that reads Parquet or CSV, asks the same model through the same schema, and can be killed.

::

    planning   which files, cut into parts that are the same at every start        (plan, csv_files, parquet_files)
    scoring    a part's rows -> predictions, and the rows that don't fit with why  (columns, sifting, scoring)
    committing output, rejects, then a marker; what has no marker is done again    (places, record, job)
    workers    one: a plain loop; more: Dask                                        (job, workers)
"""

"""Adapters of data engines, one module each: `spark`, `duckdb`, `datafusion`, `polars`.

Nothing is imported before its module is; docs/frames.md says when an engine is needed, and has recipes for Dask and Daft.
"""

"""A route in a marimo notebook: `marimo edit docs/notebooks/first_route.py`, or run it as a script."""

import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    import pyarrow as pa

    from itron_core import process_route
    from itron_core.testing import make_route

    return make_route, mo, pa, process_route


@app.cell
def _(mo):
    mo.md("""
    # A route, decided in one call

    `make_route` makes a route with genuine tokens, and some that are forged, expired or meant for another device.
    """)


@app.cell
def _(make_route):
    route = make_route(1_000, now=1_795_000_000, seed=1)
    route.table
    return (route,)


@app.cell
def _(process_route, route):
    results = process_route(route.table, route.keyring, now=route.now, permissions=route.permissions)
    decisions = results.summary()["decision"]
    print(decisions)
    return decisions, results


@app.cell
def _(mo, pa, results):
    mo.ui.table(pa.table(results.names()))


@app.cell
def _(results):
    refused = next(row for row in range(len(results)) if results["reason"][row])
    print(results.explain(refused))


if __name__ == "__main__":
    app.run()

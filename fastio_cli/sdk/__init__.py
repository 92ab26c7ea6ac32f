"""The Python SDK behind ``fastio_cli.connect``: operations as methods of typed objects."""

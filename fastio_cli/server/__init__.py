"""The store as a service over HTTP. Nothing here knows an operation: all follows the catalogue."""

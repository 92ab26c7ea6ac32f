"""The Model Context Protocol, as agents and their programs speak it."""

"""The operations on a server: the same port as the engine, over HTTP."""

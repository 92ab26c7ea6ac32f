"""Every outgoing request: which addresses it may reach, checked when it connects."""

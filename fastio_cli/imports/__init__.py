"""Bytes from elsewhere: the guard all outgoing requests pass, fetching, share links, logins."""

"""Fetching files from URLs, share links and buckets, and logins at file services."""

"""Bytes by content: in a folder, in a bucket, or nowhere."""

"""Settings and credentials: where each comes from, and where secrets are kept."""

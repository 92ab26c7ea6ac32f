"""SQL, one module a noun, and nothing else."""

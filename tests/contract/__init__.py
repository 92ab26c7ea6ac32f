"""The specification of fastio's operations: one file per noun, the same on every backend."""

"""One way through: a call is authorised, run in one transaction, and answered."""

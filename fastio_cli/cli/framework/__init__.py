"""What commands are made of: parsing, output, help, manual, completions."""

"""The shell's surface: one module per noun; ``main.py`` is where a command begins and ends."""

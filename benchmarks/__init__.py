"""Every speed and memory figure that the project quotes, printed by a script of its own."""

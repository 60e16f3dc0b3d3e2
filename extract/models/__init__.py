"""Load models, place them on devices, and find the modules that extraction reads and changes."""

"""Models: loaded, placed on devices, and known by the modules that extraction reads and changes."""

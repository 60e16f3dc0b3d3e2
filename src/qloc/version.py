"""The version of qloc, apart so that rooms can write it down without importing the face."""

__version__ = "0.1.0"

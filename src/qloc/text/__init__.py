"""Text: numbers as people read them, tables and files of text; nothing here knows of a study."""

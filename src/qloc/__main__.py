"""``python -m qloc``: the command line, as the console script ``qloc``."""

from qloc.cli import main

if __name__ == "__main__":
    main()

"""``python -m fer_core``."""

import sys

if __name__ == "__main__":
    try:
        from fer_core.cli import main

        main()
    except KeyboardInterrupt:  # while this was loaded
        sys.exit(130)

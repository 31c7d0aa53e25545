"""Starts SaM: ``python app.py``. Settings come from the environment (``SAM_PORT=8000 …``)."""

import sys

from sam_ui.app import serve
from sam_ui.cli_output import fail_politely
from sam_ui.settings import Settings

if __name__ == "__main__":
    sys.exit(fail_politely(lambda: serve(Settings())))

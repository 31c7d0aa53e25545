"""Starts SaM: ``python app.py``. Settings come from the environment (``SAM_PORT=8000 …``)."""

from sam_ui.app import serve
from sam_ui.settings import Settings

if __name__ == "__main__":
    serve(Settings())

"""The browser that the tests and the scripts beside them drive."""

import shutil

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-dev-shm-usage --disable-background-networking "
    "--disable-component-update --disable-sync --disable-extensions --no-first-run "
    "--no-default-browser-check"
).split()
# Milliseconds: answers of the real model, while the machine may be busy with other work.
PATIENCE = 60_000

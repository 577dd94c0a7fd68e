"""Where the documentation of a release is served: the one address that reports, alerts and dashboards link.

`make docs` builds what is served there (its address stands in .ci/site.yml, and a test compares them).
"""

from __future__ import annotations

DOCUMENTATION = "https://passmuster.io/docs"
"""Without a slash at its end; a page `docs/NAME.md` is served as `DOCUMENTATION/NAME/`."""

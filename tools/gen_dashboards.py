"""Generate the chart's Grafana dashboards; with `--check`, say if they are current.

Run as a module in the root of the repository: `python -m tools.gen_dashboards`.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from tools.dashboards.gateway import GATEWAY
from tools.dashboards.grafana import Dashboard
from tools.dashboards.overview import OVERVIEW
from tools.dashboards.worker_groups import WORKER_GROUPS

ROOT: Final = Path(__file__).resolve().parent.parent
TARGET: Final = ROOT / "charts" / "holdfast" / "files" / "dashboards"
DASHBOARDS: Final = (OVERVIEW, WORKER_GROUPS, GATEWAY)


def main() -> int:
    """Generate, or compare with what is committed; return the exit code."""
    parser = argparse.ArgumentParser(description="Generate charts/holdfast/files/dashboards.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 on drift")
    check = parser.parse_args().check
    fresh = {f"{dashboard.uid}.json": _text(dashboard) for dashboard in DASHBOARDS}
    found = {path.name: path.read_text() for path in TARGET.glob("*.json")}
    stale = sorted(
        name for name in fresh.keys() | found.keys() if fresh.get(name) != found.get(name)
    )
    if not stale:
        print("dashboards: charts/holdfast/files/dashboards is current")
        return 0
    if check:
        print(f"dashboards: {', '.join(stale)} differ from tools/dashboards; run `make dashboards`")
        return 1
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in stale:
        if name in fresh:
            (TARGET / name).write_text(fresh[name])
        else:
            (TARGET / name).unlink()
        print(f"dashboards: wrote {(TARGET / name).relative_to(ROOT)}")
    return 0


def _text(dashboard: Dashboard) -> str:
    return json.dumps(dashboard.to_json(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.exit(main())

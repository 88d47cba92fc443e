"""Generate the chart's values.schema.json and README table; `--check` says if they are current.

Both follow from values.yaml and its comments, and from the settings of the services: a setting of
the code can be given in the chart, and nothing else. Run as a module in the root of the repository:
`python -m tools.gen_chart_docs`.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Final

import yaml

from tools.chart.readme import with_values
from tools.chart.schema import schema_of
from tools.chart.values import read_values
from tools.gen_docs import SETTINGS

ROOT: Final = Path(__file__).resolve().parent.parent
CHART: Final = ROOT / "charts" / "holdfast"
README: Final = CHART / "README.md"
SCHEMA: Final = CHART / "values.schema.json"


def main() -> int:
    """Generate, or compare with what is committed; return the exit code."""
    parser = argparse.ArgumentParser(description="Generate the documentation of the chart.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 on drift")
    check = parser.parse_args().check
    fresh = {README: readme_text(), SCHEMA: schema_text()}
    stale = [path for path, text in fresh.items() if _read(path) != text]
    names = ", ".join(path.name for path in stale)
    if not stale:
        print("chart: README.md and values.schema.json are current")
        return 0
    if check:
        print(f"chart: {names} differ from values.yaml and the settings; run `make docs`")
        return 1
    for path in stale:
        path.write_text(fresh[path])
        print(f"chart: wrote {path.relative_to(ROOT)}")
    return 0


def readme_text() -> str:
    """Return the README with the table of today's values."""
    return with_values(README.read_text(), read_values(_read(CHART / "values.yaml")))


def schema_text() -> str:
    """Return the schema of today's values."""
    schema = schema_of(
        read_values(_read(CHART / "values.yaml")),
        title="Values of the Holdfast chart",
        settings=settings_by_name(),
        removed=yaml.safe_load(_read(CHART / "files" / "removed-keys.yaml")),
    )
    return json.dumps(schema, indent=2) + "\n"


def settings_by_name() -> dict[str, dict[str, str]]:
    """Return the settings of each service, by full name, with what they mean."""
    found: dict[str, dict[str, str]] = {}
    for service, settings in SETTINGS.items():
        assert dataclasses.is_dataclass(settings)
        found[service] = {
            f"HOLDFAST_{service}_{field.name}".upper(): field.metadata["doc"]
            for field in dataclasses.fields(settings)
        }
    return found


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())

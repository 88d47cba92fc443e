"""A version of the store that is newer than this one by two migrations.

The first one expands the tables, the second one takes the same away again, as a later release
does with what nobody needs any more. They are mounted into the image's own folder, for the hook
Jobs that run them and for the stores that know them, so that upgrades across versions can be played
with the images of one.
"""

import json
from typing import Any, Final

from tests.e2e.deployment import Deployment

EXPANDS: Final = "9000"
CONTRACTS: Final = "9001"
TABLE: Final = "promises"
COLUMN: Final = "e2e_note"
CONFIG_MAP: Final = "newer-migrations"
FOLDER: Final = "/app/src/holdfast_store/db/migrations/versions"

HEAD: Final = '''
"""A migration that only the end-to-end tests have."""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = max(
    name for path in Path(__file__).parent.glob("[0-9]*_*.py")
    if (name := path.name.partition("_")[0]) < revision
)
branch_labels = None
depends_on = None
'''

FILES: Final = {
    f"{EXPANDS}_note.py": HEAD.format(revision=EXPANDS)
    + f"""

def upgrade() -> None:
    op.add_column("{TABLE}", sa.Column("{COLUMN}", sa.Text))
    op.create_index("{TABLE}_{COLUMN}", "{TABLE}", ["{COLUMN}"])
    op.create_table("{COLUMN}s", sa.Column("id", sa.BigInteger, primary_key=True))
""",
    f"{CONTRACTS}_no_note.py": HEAD.format(revision=CONTRACTS)
    + f"""
needs = "{EXPANDS}"


def upgrade() -> None:
    op.drop_table("{COLUMN}s")
    op.drop_column("{TABLE}", "{COLUMN}")
""",
}


def prepare(deployment: Deployment) -> None:
    """Put the migrations where a release can mount them."""
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP},
        "data": FILES,
    }
    deployment.kubectl("apply", "--filename", "-", stdin=json.dumps(config_map))


def values(newest: str) -> list[str]:
    """Values by which a release is of the version that knows migrations up to this one."""
    known = [file for file in FILES if file.partition("_")[0] <= newest]
    volumes = [{"name": "newer", "configMap": {"name": CONFIG_MAP}}]
    mounts: list[dict[str, Any]] = [
        {"name": "newer", "mountPath": f"{FOLDER}/{file}", "subPath": file, "readOnly": True}
        for file in known
    ]
    return [
        *("--set-json", f"store.extraVolumes={json.dumps(volumes)}"),
        *("--set-json", f"store.extraVolumeMounts={json.dumps(mounts)}"),
    ]

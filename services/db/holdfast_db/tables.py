"""The tables of the application database; the migrations make them, the functions use them."""

from sqlalchemy import BigInteger, Column, MetaData, Table, Text

metadata = MetaData()

accounts = Table(
    "accounts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("balance_cents", BigInteger, nullable=False),
)

results = Table(
    "results",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("result", Text, nullable=False),  # JSON; nothing here looks inside
    Column("saved_at_ms", BigInteger, nullable=False),
)

reservations = Table(
    "reservations",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("items", BigInteger, nullable=False),
    Column("reserved_at_ms", BigInteger, nullable=False),
)

charges = Table(
    "charges",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("charge_id", Text, nullable=False),
    Column("total_cents", BigInteger, nullable=False),
    Column("charged_at_ms", BigInteger, nullable=False),
)

purchases = Table(
    "purchases",
    metadata,
    Column("key", Text, primary_key=True),
    Column("item_id", Text, nullable=False),
    Column("order_id", Text),  # none: the purchase was cancelled
    Column("decided_at_ms", BigInteger, nullable=False),
)

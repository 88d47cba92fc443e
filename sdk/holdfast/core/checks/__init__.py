"""The rules behind `holdfast.core.invariants`, in tables that can be read as a list of laws."""

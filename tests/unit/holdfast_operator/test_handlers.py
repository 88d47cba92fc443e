"""How kopf is told to behave."""

import itertools
import logging

import kopf

from holdfast_operator.handlers import Backoffs, _calm, kopf_settings


def test_no_wait_of_a_watch_or_a_request_is_without_end() -> None:
    settings = kopf_settings()

    waits = (
        settings.watching.server_timeout,
        settings.watching.client_timeout,
        settings.watching.connect_timeout,
        settings.watching.inactivity_timeout,
        settings.networking.request_timeout,
        settings.networking.connect_timeout,
    )
    assert all(wait is not None and 0 < wait <= 330 for wait in waits)


def test_an_outage_is_outlasted_with_ever_longer_pauses() -> None:
    """A list would end some day, and the watch with it."""
    pauses = Backoffs()

    first = list(itertools.islice(pauses, 200))

    assert first == sorted(first)
    assert first[-1] == 10
    assert list(itertools.islice(pauses, 3)) == first[:3], "each request begins anew"


def test_kopf_stays_in_its_namespace_and_in_our_domain() -> None:
    settings = kopf_settings()

    assert settings.scanning.disabled
    assert settings.peering.standalone
    assert not settings.posting.enabled
    assert settings.persistence.finalizer == "holdfast.dev/operator"
    storages = (settings.persistence.progress_storage, settings.persistence.diffbase_storage)
    assert [getattr(storage, "prefix", None) for storage in storages] == ["holdfast.dev"] * 2
    assert isinstance(storages[0], kopf.AnnotationsProgressStorage)


def test_what_kopf_tries_again_is_a_warning() -> None:
    record = logging.LogRecord("kopf.x", logging.ERROR, "f", 1, "failed; will retry: x", (), None)

    assert _calm(record)
    assert record.levelname == "WARNING"


def test_other_errors_stay_errors() -> None:
    records = [
        logging.LogRecord(name, logging.ERROR, "f", 1, message, (), None)
        for name, message in (("kopf.x", "it is over"), ("other", "failed; will retry: x"))
    ]

    assert all(_calm(record) and record.levelname == "ERROR" for record in records)

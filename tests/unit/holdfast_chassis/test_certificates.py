"""Certificates that are replaced while they are in use."""

from pathlib import Path

import pytest

from holdfast_chassis.certificates import BadCertificate, CertificateFiles
from tests.issuing import Authority


def test_a_certificate_that_was_replaced_is_found_once(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = authority.issue("server")
    found = CertificateFiles(str(files.cert), str(files.key), str(authority.path))
    first = found.current

    unchanged = found.replaced()
    authority.issue("server")
    second = found.replaced()

    assert unchanged is None
    assert second is not None
    assert second.chain != first.chain
    assert second.client_ca == authority.path.read_bytes()
    assert found.replaced() is None
    assert found.current is second


def test_a_certificate_without_its_key_is_not_used_until_the_key_is_there(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = authority.issue("server")
    found = CertificateFiles(str(files.cert), str(files.key))
    old_key = files.key.read_bytes()

    authority.issue("server")
    new_key = files.key.read_bytes()
    files.key.write_bytes(old_key)
    half_way = found.replaced()
    files.key.write_bytes(new_key)
    complete = found.replaced()

    assert half_way is None
    assert complete is not None
    assert complete.key == new_key


@pytest.mark.parametrize("broken", ["cert", "key"])
def test_files_that_hold_something_else_are_refused(tmp_path: Path, broken: str) -> None:
    files = Authority(tmp_path).issue("server")
    getattr(files, broken).write_text("nothing of use")

    with pytest.raises(BadCertificate, match="must be certificates and a key in PEM"):
        CertificateFiles(str(files.cert), str(files.key))


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("server")
    files.key.unlink()

    with pytest.raises(BadCertificate, match=r"server\.key: No such file"):
        CertificateFiles(str(files.cert), str(files.key))

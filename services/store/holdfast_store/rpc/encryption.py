"""TLS for the gRPC server, by a certificate that may be replaced while it runs."""

import grpc

from holdfast_chassis.certificates import Certificate, CertificateFiles


def credentials_of(files: CertificateFiles) -> grpc.ServerCredentials:
    """Make credentials that look for a newer certificate at each connection.

    With authorities for clients, each client must show a certificate of one of them.
    """

    def newer() -> "grpc.ServerCertificateConfiguration | None":
        replaced = files.replaced()
        return None if replaced is None else _configuration(replaced)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(files.current),
        newer,  # type: ignore[arg-type] # `None`, which the types do not know, keeps the present one
        require_client_authentication=files.current.client_ca is not None,
    )


def _configuration(certificate: Certificate) -> "grpc.ServerCertificateConfiguration":
    return grpc.ssl_server_certificate_configuration(
        [(certificate.key, certificate.chain)], root_certificates=certificate.client_ca
    )

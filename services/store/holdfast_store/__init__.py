"""The promise store: a batch engine over a database, served by gRPC or in process."""

"""The wire contract, generated from `proto/` by `make proto`; never edited."""

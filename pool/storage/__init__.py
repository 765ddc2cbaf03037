"""The SQL store, which is the truth: schema, database, personas, record, ledger, leases."""

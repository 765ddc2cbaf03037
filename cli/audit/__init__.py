"""`ethos audit`: the record, influence, search, retention."""

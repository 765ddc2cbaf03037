"""The database's schema, one numbered file a change."""

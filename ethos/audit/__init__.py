"""Reading the record: lineage, influence, replay, comparison, statistics, exports."""

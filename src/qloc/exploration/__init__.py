"""What the explorer of a report shows: made by the analysis, kept beside a result, shown by the report."""

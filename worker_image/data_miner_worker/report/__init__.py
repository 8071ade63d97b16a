"""The report: one page that shows what a dataset is and why."""

"""Reports for people: one HTML file for the auditor, Markdown for a ticket, both with the same content."""

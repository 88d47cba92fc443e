"""Pages: templates, and files that browsers fetch. All of them are here, none is elsewhere."""

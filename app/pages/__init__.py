"""Pages for people: the start page, the report of a job, and its picture."""

"""Turn a sweep into a page that holds a claim of the field against its results."""

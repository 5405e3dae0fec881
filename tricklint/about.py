"""Where the project lives. The one place that names an address; pyproject.toml and the README say the same."""

REPOSITORY = "https://github.com/tricklint/tricklint"
PAGES = f"{REPOSITORY}/blob/main/docs/"  # what the repository itself serves, without a site beside it
RULE_PAGES = f"{PAGES}rules/"

"""Where images come from when they are not on this disk: a PACS, a public library. Each fetches into a folder."""

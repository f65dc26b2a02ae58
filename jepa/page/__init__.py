"""A page to watch plans on: one HTML file that needs no network, no server and no library."""

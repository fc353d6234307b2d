"""The controller: what is on disk, what is loaded, what serves. Knows no wire."""

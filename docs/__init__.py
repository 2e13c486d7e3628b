"""The documentation: pages in MyST Markdown, settings of Sphinx, and the command that builds the site."""

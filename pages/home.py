"""Home: what is here and what to do next."""

from ui.components import page_header

page_header("Home", "What is in this workspace and what to do next.")

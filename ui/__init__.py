"""The only code besides `pages/` that imports streamlit. See docs/ui.md."""

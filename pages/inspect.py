"""Inspect."""

from ui import navigation
from ui.components import dataset_picker, page_header

page_header(*navigation.PAGES["inspect"][::2])
dataset_picker()

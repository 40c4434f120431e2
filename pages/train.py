"""Train."""

from ui import navigation
from ui.components import dataset_picker, page_header

page_header(*navigation.PAGES["train"][::2])
dataset_picker()

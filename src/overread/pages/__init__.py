"""Pages and pictures for people: report, card, plots, overlays. Drawn with Pillow."""

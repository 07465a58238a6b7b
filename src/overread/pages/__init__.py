"""Pages and pictures for people: report, card, plots, overlays. The only rooms that know Matplotlib."""

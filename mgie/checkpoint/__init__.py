"""Model folders of every origin; the only code that knows other people's weight layouts."""

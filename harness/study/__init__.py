"""Studies: many trainings over seeds, grown into an LVLM and asked, each once, and what they show together."""

"""Vision-language models, one module a family; each module registers a maker and imports torch inside it."""

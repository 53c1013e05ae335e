"""What a difference between two runs means: is it real, is it sight or bias, which pictures changed."""

"""The page: drop an image or a clip, see its pose turn, take the JSON away."""

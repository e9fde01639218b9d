"""The page: drop a picture or a clip, see its pose turn, take the JSON away."""
